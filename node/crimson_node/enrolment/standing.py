"""Where a home stands between empty and left, told from the files that are there and never from memory.

The file that makes a step count is written last: `node.json` when the gateway took the request, `left.cbor`
when it took the farewell. A kill between two files leaves the step before, which can be repeated.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from crimson_node.home import NodeHome
from crimson_node.outcome import BadConfiguration
from crimson_node.settings import FILE, NodeSettings


class Standing(Enum):
    """What a home is."""

    EMPTY = "empty"
    JOINING = "joining"
    """A join was begun; whether the gateway has the request is not known here."""
    REQUESTED = "requested"
    """The gateway has the request; no policy lists this node yet."""
    MEMBER = "member"
    LEFT = "left"
    FOREIGN = "foreign"
    """There are keys, and no join made them."""


@dataclass(frozen=True)
class EnrolmentFiles:
    """Names of what joining, changing keys and leaving keep in a home."""

    root: Path

    @property
    def home(self) -> NodeHome:
        """The rest of the home."""
        return NodeHome(self.root)

    @property
    def settings(self) -> Path:
        return self.root / FILE

    @property
    def invitation(self) -> Path:
        """The invitation without its secret: the mark of a join under way."""
        return self.root / "join.invitation"

    @property
    def invitation_key(self) -> Path:
        """The invitation's key: with it the gateway says how the request stands, even where it was refused."""
        return self.keys / "invitation.pem"

    @property
    def request(self) -> Path:
        """The signed request of a join, until a policy lists this node."""
        return self.root / "join.request"

    @property
    def authority(self) -> Path:
        """The gateway's certificate authority."""
        return self.root / "ca.pem"

    @property
    def inspection(self) -> Path:
        """The authority of a hospital proxy that opens TLS."""
        return self.root / "inspection-ca.pem"

    @property
    def keys(self) -> Path:
        return self.home.identity.parent

    @property
    def farewell(self) -> Path:
        """The signed leave request, before the gateway took it."""
        return self.root / "leave.request"

    @property
    def left(self) -> Path:
        """The signed leave request that the gateway took: this home takes part in nothing any more."""
        return self.root / "left.cbor"

    def member_settings(self) -> NodeSettings:
        """The settings of a home whose site a policy lists. Raises BadConfiguration: not-a-member, home-left."""
        standing = self.standing()
        if standing is Standing.LEFT:
            raise self.gone()
        if standing in (Standing.JOINING, Standing.REQUESTED):
            text = f"the site of {self.root} is not listed yet"
            raise BadConfiguration(text, "crimson node status shows what it waits for", "not-a-member")
        return self.home.settings()

    def refuse_no_site(self) -> None:
        """Raise BadConfiguration where the site of this home has left, or did not get as far as the gateway."""
        standing = self.standing()
        if standing is Standing.LEFT:
            raise self.gone()
        if standing is Standing.JOINING:
            hint = f"crimson node join --home {self.root}"
            raise BadConfiguration("the gateway did not take this site's request yet", hint, "not-a-member")

    def gone(self) -> BadConfiguration:
        """Why nothing more can be done in a home whose site has left."""
        hint = "give another folder with --home; this one keeps the journal and the receipts"
        return BadConfiguration(f"the site of {self.root} has left its federation", hint, "home-left")

    def standing(self) -> Standing:
        """What the files say."""
        if self.left.exists():
            return Standing.LEFT
        if self.settings.exists():
            return Standing.REQUESTED if self.request.exists() else Standing.MEMBER
        if self.invitation.exists():
            return Standing.JOINING
        return Standing.FOREIGN if self.keys.exists() else Standing.EMPTY
