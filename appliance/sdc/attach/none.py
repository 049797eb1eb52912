"""No block device: whoever wants the volume connects to its NBD socket (``uri``)."""

from appliance.sdc.attach import interface


class NoDevice:
    """An interface.Backend."""

    def attach(self, target: interface.Target) -> interface.Attached:
        return interface.Attached(incarnation=target.incarnation)

    def renew(self, _held: interface.Attached, target: interface.Target) -> interface.Attached:
        return self.attach(target)

    def detach(self, held: interface.Attached, flush: bool, force: bool) -> None:
        pass

    def grow(self, _held: interface.Attached, _target: interface.Target, _size: int) -> None:
        pass

    def fault(self, _held: interface.Attached) -> str:
        return ""
