"""stub"""


def publish() -> None:
    pass
