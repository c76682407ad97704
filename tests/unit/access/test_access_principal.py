"""access.principal: a caller, which nobody changes once it is known."""

import dataclasses

import pytest
from house import knock


async def test_a_guest_and_its_principal_cannot_be_changed(house, certificate):
    guest = await house.gate.enter(knock(certificate("search")))
    for what, name in ((guest, "principal"), (guest.principal, "models"), (guest.peer, "names")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(what, name, None)
