from ratatoskr import Kind

from .loyalty_pb2 import Redeem, Redeemed

REDEEM = Kind(1001, 1, "REDEEM", Redeem, Redeemed, once="redemption_id")
