"""Fingerprints as words: what two people read to each other over the phone.

The words are short, no two begin with the same three letters, and none sounds like another. The list is part
of the protocol: a word that is moved or replaced makes two releases read different words for one key.
"""

import hashlib

from crimson_protocol.crypto.labels import FINGERPRINT
from crimson_protocol.wire import cbor

_LIST = """
    acorn acrobat airport alarm almond alpine amber anchor antler anvil apple apricot artist athlete atlas
    attic autumn avocado bagel bamboo banana bathtub bedrock bench bicycle biscuit blanket blossom bobcat
    bonfire border bottle bridge bronze bucket buffalo cactus caravan castle catfish cavern cedar celery
    ceramic chalk chimney chorus cinema circus cliff clover cobweb coconut college cotton cradle crystal
    cuckoo curtain cushion cyclone dancer digital dolphin domino donkey dragon drummer dynamo earring echo
    eclipse elastic emerald engine fabric falcon feather flannel foghorn forest fossil freckle fudge gadget
    galaxy garlic gateway ginger glacier globe goblet granite guitar habitat halibut handle harvest hatchet
    headset highway hippo holiday horizon iceberg igloo indigo inkwell insect invoice island ivory jackpot
    jaguar jasmine jigsaw journal juggler kayak kernel kingdom kitchen koala ladder lagoon lantern laptop
    lava legend leopard lettuce library lighter linen lobster logbook luggage machine magpie mammoth manual
    marble melon mermaid message mineral mirror morning mosaic mustard napkin nectar network nickel nugget
    nursery nutmeg oasis oatmeal octopus onion opera orange orchid oxygen pancake parsley pebble pelican
    penguin pepper perfume piano picnic pigeon pirate plum plywood polka poplar prairie pretzel prism puffin
    pulley purple pyramid quartz quilt radish rainbow record rhubarb robin rugby sardine saturn scooter
    sherbet shovel signal silver sketch slate smoke snorkel sofa soldier spanner spinach sponge sprout squid
    sticker storm student sunset swallow tadpole tango tarmac tennis thunder tomato toolbox tornado towel
    tractor tripod trumpet tugboat tulip uniform upright vacuum vanilla varnish vehicle velvet victory
    village vinegar violin visitor volcano walnut wedding weekend welder whisker wizard wolf yacht yogurt
    zebra zodiac
"""
WORDS = tuple(_LIST.split())
"""One word for each value of a byte, in the order of the alphabet."""
FINGERPRINT_WORDS = 10
"""Words of a fingerprint: 80 bits, which nobody can match by making other keys."""


def fingerprint(identity_key: bytes, encryption_key: bytes) -> tuple[str, ...]:
    """Ten words for a pair of raw public keys; another key in either place gives other words."""
    digest = hashlib.sha256(cbor.encode([FINGERPRINT, identity_key, encryption_key])).digest()
    return tuple(WORDS[value] for value in digest[:FINGERPRINT_WORDS])
