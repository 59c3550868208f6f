from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Redeem(_message.Message):
    __slots__ = ("redemption_id", "voucher")
    REDEMPTION_ID_FIELD_NUMBER: _ClassVar[int]
    VOUCHER_FIELD_NUMBER: _ClassVar[int]
    redemption_id: str
    voucher: str
    def __init__(self, redemption_id: _Optional[str] = ..., voucher: _Optional[str] = ...) -> None: ...

class Redeemed(_message.Message):
    __slots__ = ("points",)
    POINTS_FIELD_NUMBER: _ClassVar[int]
    points: int
    def __init__(self, points: _Optional[int] = ...) -> None: ...
