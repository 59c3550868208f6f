"""Ratatoskr over WebSocket, on asyncio."""
