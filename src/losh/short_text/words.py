"""The closed word lists of the short-text rule: function words, places, colours, garments, beings.

No verbs of action are listed.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


AUXILIARIES = _words(
    "is are was were am be been being has have had isn't aren't wasn't weren't does did doesn't "
    "didn't"
)
RELATIVES = _words("who which that whose whom where when while as")
DETERMINERS = _words(
    "a an the this these those his her its their my your our some another each every both"
)
CONJUNCTIONS = _words("and or but &")

# Words that say where in the picture something is. They are never taken for a verb ("left") or for
# a head noun.
PLACES = _words(
    "left right leftmost rightmost most middle center centre central front back behind rear "
    "bottom top topmost "
    "corner side foreground background edge end upper lower"
)
PLACE_DEGREES = _words("far very extreme")
# Those that can stand before a noun as its position: "the left ball", "top right bird".
PLACE_ADJECTIVES = PLACES - _words("behind corner side foreground background edge end") | {"far"}
ORDINALS = _words(
    "first second third fourth forth fifth sixth seventh eighth ninth tenth last 1st 2nd 3rd 4th "
    "5th 6th 7th 8th"
)
RANKS = _words("track row lane rank line")
PICTURE = _words("screen image picture frame video photo scene")

PREPOSITIONS = _words(
    "in on at of with without from to by near nearby next beside behind under underneath below "
    "beneath above over between among "
    "against around along alongside across outside inside within into onto through toward "
    "towards during for like off past before after up down about"
)
# Those that begin a relation to another thing, even where no verb comes first ("a man under the net
# is ...").
RELATIONS = PREPOSITIONS - _words("in on at of with without from to like up down off about for")

# The same for words that a preposition follows, unless they stand before a noun ("the closest
# dog").
NEARNESS = _words("closest nearest farthest furthest close closer nearer adjacent")

# Verbs of clothing: what follows them describes the subject and is kept.
WEARING = _words("wearing wears wear dressed clad clothed")
COLOURS = _words(
    "black white gray grey red green blue yellow orange pink purple violet brown beige golden "
    "gold silver blond blonde dark light bright navy maroon "
    "burgundy turquoise tan colorful colored striped stripped plaid checkered spotted dotted "
    "camouflage grayish brownish whitish reddish"
)
GARMENTS = _words(
    "shirt tshirt t-shirt top coat jacket suit dress skirt pant jean short trouser hat cap "
    "helmet uniform jersey vest sweater hoodie costume kimono "
    "clothes cloth clothing outfit robe gown glass glasses sunglass sunglasses goggle shoe boot "
    "sock glove scarf tie mask apron bikini trunk leotard "
    "tight armor gear blouse tuxedo pajama onesie headband belt diaper bottoms"
)
# Beings: "with a dog" is company, so a relation; "with black hair" is appearance.
BEINGS = _words(
    "man men woman women boy girl guy person people someone somebody lady child children kid "
    "baby player friend owner mother father dog puppy cat "
    "kitten bird horse other"
)
# Words in -ing that no form tells from participles.
ING_NOUNS = _words(
    "ring king wing string thing something anything nothing everything spring sling swing "
    "morning evening building ceiling clothing wedding "
    "railing painting earring duckling sibling during viking"
)
# Words in -ing that make compounds after another noun too: "toy racing car".
COMPOUNDS = _words("racing bowling boxing")
# Adverbs that may stand between the subject and its verb, beside those in -ly.
ADVERBS = _words("also just still now then fast very not always again together alone")
