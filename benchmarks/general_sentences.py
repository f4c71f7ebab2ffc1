"""Writes ``sightline/data/general-sentences.txt``: short English sentences as people ask for pictures.

A grammar and word lists of our own, no collected text: ``python -m benchmarks.general_sentences``. The same
lines each time; a test compares them with the file.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Final

COUNT: Final = 3_000
FILE: Final = Path(__file__).parents[1] / "sightline" / "data" / "general-sentences.txt"

WORDS: Final[dict[str, str]] = {
    "colour": "red|blue|green|yellow|white|black|orange|pink|purple|brown|grey|golden|silver|beige|"
    "turquoise",
    "many": "two|three|four|five|several|many|a few|a group of|a row of|a pair of",
    "person": "man|woman|boy|girl|child|baby|teenager|couple|young woman|old man|elderly woman|"
    "bearded man|student|tourist|bride|grandmother|father|toddler|dancer|musician|cyclist|runner|farmer|"
    "nurse",
    "worker": "chef|doctor|firefighter|police officer|carpenter|fisherman|teacher|pilot|soldier|waiter|"
    "painter|photographer|gardener|mechanic|hairdresser|builder|scientist|postman|welder|judge|baker|"
    "astronaut",
    "people": "people|children|friends|women|men|tourists|students|dancers|musicians|workers|fans|"
    "players",
    "garment": "coat|hat|dress|shirt|scarf|jacket|uniform|suit|skirt|sweater|helmet|raincoat|apron|"
    "swimsuit",
    "look": "with glasses|with long hair|with a backpack|with an umbrella|with a tattoo|with curly hair|"
    "in sunglasses|in a {colour} {garment}|wearing a {colour} {garment}|with a big smile|with a beard",
    "does": "riding a bicycle|reading a book|talking on the phone|playing the guitar|walking a dog|"
    "drinking coffee|taking a picture|sitting on a bench|running|dancing|sleeping on a sofa|"
    "cooking dinner|climbing a rock|looking out of a window|waving|holding a baby|eating an ice cream|"
    "waiting for a bus|carrying boxes|laughing|typing on a laptop|blowing out candles|"
    "pushing a stroller|painting a wall|brushing her teeth|jumping into water|holding a sign|"
    "playing chess|crossing the road|flying a kite|feeding pigeons|lying in a hammock|blowing bubbles|"
    "washing the dishes|tying shoes|standing on a ladder|hugging a friend",
    "animal": "dog|cat|horse|cow|sheep|goat|bird|duck|owl|elephant|lion|tiger|giraffe|zebra|bear|monkey|"
    "rabbit|squirrel|fox|deer|wolf|penguin|seal|dolphin|whale|turtle|frog|snake|butterfly|bee|spider|"
    "parrot|eagle|swan|pig|donkey|camel|hedgehog|mouse|crab|jellyfish|puppy|kitten|kangaroo|flamingo|"
    "lizard",
    "animal_does": "sleeping|running|eating|drinking water|looking at the camera|jumping over a fence|"
    "hiding|walking in a line|fighting|lying on its back|sitting in a box|swimming|with its young|"
    "in a cage|behind a fence|yawning|climbing a tree|catching a ball|in the rain|standing on one leg|"
    "on a leash",
    "wild": "in the snow|in tall grass|on a branch|in a river|on a rock|under water|in the desert|"
    "in a meadow|in a zoo|on a farm|at a waterhole|in the forest|on the beach|in a garden|on a sofa|"
    "on a roof",
    "vehicle": "car|bus|truck|train|tram|bicycle|motorcycle|scooter|van|taxi|ambulance|fire engine|"
    "tractor|sailing boat|ferry|canoe|ship|airplane|helicopter|hot air balloon|pickup|caravan|"
    "police car|sports car|steam locomotive|excavator|rowing boat|submarine|skateboard|hearse|tank|"
    "cable car",
    "vehicle_does": "parked by the road|on a bridge|in a traffic jam|covered in snow|in a tunnel|"
    "at a station|on fire|under repair|in a museum|full of people|turning left|with its lights on|"
    "in a field|after an accident|seen from above|at the harbour|in front of a shop|taking off|"
    "crossing the sea|on a muddy track",
    "food": "pizza|cake|soup|salad|sandwich|sushi|pasta|bread|cheese|hamburger|pancakes|rice|noodles|"
    "tacos|roast chicken|apple pie|omelette|curry|doughnuts|fish|dumplings|chocolate|ice cream|steak|"
    "cookies|croissants",
    "fruit": "apples|bananas|oranges|strawberries|grapes|lemons|tomatoes|carrots|peppers|mushrooms|"
    "pumpkins|onions|cherries|melons|pears|potatoes|garlic|blueberries|peaches|avocados|pineapples|"
    "cabbages",
    "drink": "coffee|tea|red wine|beer|orange juice|water|milk|hot chocolate|lemonade|a cocktail|whisky",
    "dish": "on a plate|in a bowl|on a wooden table|in a basket|on a market stall|in a pan|on a tray|"
    "in a shop window|in the oven|at a picnic|in a fridge|on a chopping board|being sliced|"
    "in a lunch box|at a street stall",
    "nature": "mountain|lake|river|waterfall|forest|beach|desert|island|valley|glacier|volcano|canyon|"
    "meadow|cave|cliff|swamp|coral reef|rice field|vineyard|sand dune|hot spring|coast|lagoon|"
    "pine forest|field of sunflowers",
    "sky": "at sunset|at sunrise|at night|under a full moon|in fog|in the rain|in winter|in autumn|"
    "in spring|on a sunny day|under dark clouds|under the stars|before a storm|with a rainbow|at noon|"
    "at dusk|in the snow",
    "plant": "roses|tulips|sunflowers|a cactus|an oak tree|a palm tree|cherry blossoms|autumn leaves|"
    "moss|ferns|orchids|bamboo|lavender|daisies|a bonsai|dry grass|a fallen tree|water lilies|"
    "ivy on a wall|a pine cone",
    "building": "church|castle|skyscraper|lighthouse|temple|mosque|barn|windmill|bridge|tower|stadium|"
    "factory|museum|palace|ruin|cottage|train station|hotel|hospital|school|monument|pagoda|"
    "apartment block|shop|cathedral|power plant|greenhouse|wooden cabin|petrol station|library|theatre|"
    "airport",
    "style": "old|modern|abandoned|small|huge|wooden|stone|brick|{colour}|famous|half-built|"
    "snow-covered|ruined",
    "street": "street|market|square|alley|park|crossroads|shopping centre|playground|construction site|"
    "harbour|car park|motorway|subway station|cafe terrace|suburb|village|bus stop|underpass|staircase|"
    "rooftop",
    "room": "kitchen|bedroom|bathroom|living room|office|classroom|library|garage|restaurant|"
    "hospital room|gym|nursery|attic|cellar|workshop|hallway|laboratory|concert hall|waiting room|"
    "hotel lobby|church interior",
    "furniture": "table|chair|sofa|bed|lamp|bookshelf|desk|mirror|carpet|curtain|piano|fireplace|"
    "wardrobe|bathtub|sink|television|stove|clock|ladder|rocking chair|chandelier|bunk bed|"
    "filing cabinet|window",
    "thing": "book|cup|bottle|camera|phone|laptop|umbrella|suitcase|guitar|violin|watch|key|candle|vase|"
    "ball|bicycle wheel|pair of shoes|hat|bag|teddy bear|kite|flag|map|globe|knife|hammer|scissors|"
    "toothbrush|gift box|newspaper|ring|necklace|mask|doll|drum|trumpet|compass|telescope|microscope|"
    "lantern|typewriter|coin|balloon",
    "on": "on a table|on a shelf|in a hand|on the floor|on a white background|in a shop window|on a bed|"
    "in a drawer|in the grass|next to a window|hanging on a wall|in a box|on a desk|in the sand|"
    "under a lamp",
    "material": "wooden|glass|metal|paper|leather|plastic|stone|broken|antique|tiny|shiny|rusty|striped|"
    "empty",
    "sport": "football|basketball|tennis|golf|baseball|volleyball|rugby|ice hockey|boxing|surfing|"
    "skiing|snowboarding|swimming|cycling|rowing|fencing|judo|gymnastics|climbing|horse riding|sailing|"
    "table tennis|archery|running|skateboarding|cricket|badminton|diving|karate|bowling",
    "moment": "match|player|team|training|championship|winner with a medal|fans in the stands|referee|"
    "equipment|in an empty hall|in slow motion|at the Olympics|for children|on a rainy day|"
    "seen from above",
    "event": "wedding|birthday party|concert|funeral|graduation|parade|demonstration|carnival|festival|"
    "Christmas|New Year's Eve|Halloween|picnic|family reunion|school trip|conference|press conference|"
    "auction|fair|street party|baptism|prom|marathon|fashion show|barbecue|camping trip|award ceremony",
    "event_part": "guests|decoration|crowd|fireworks|cake|speech|dancing couple|first dance|group photo|"
    "lights|children with balloons|people in costumes|empty chairs after it|long table|stage|invitation|"
    "souvenirs",
    "document": "handwritten letter|receipt|street sign|menu|poster|map|chart|screenshot of a website|"
    "book cover|passport|ticket|whiteboard with formulas|graffiti|newspaper page|logo|diagram|"
    "spreadsheet|barcode|warning sign|business card|comic strip|road sign|calendar|old postcard|"
    "x-ray image|floor plan|sheet music|certificate",
    "art": "oil painting|watercolour|pencil drawing|sculpture|mosaic|cartoon|statue|mural|woodcut|"
    "stained glass|child's drawing|3d rendering|black and white photograph|old photograph|silhouette|"
    "collage|sketch|engraving",
    "subject": "a woman|a horse|a ship|a battle|a saint|flowers|a landscape|a face|two lovers|a king|"
    "a dragon|fruit in a bowl|a city|an angel|a child|a robot|hands|a self-portrait|the sea|a cat|"
    "a skull|dancers",
    "mood": "happy|sad|lonely|romantic|scary|funny|peaceful|busy|dramatic|cosy|elegant|messy|mysterious|"
    "festive",
    "view": "close-up of|aerial view of|view through a window of|reflection of|shadow of|"
    "blurred picture of|photo of|picture of|macro shot of|back view of|panorama of|night shot of|"
    "portrait of|silhouette of",
    "beside": "next to|in front of|behind|on top of|under|between|left of|right of|inside|"
    "leaning against|far from",
    "anything": "a {colour} {thing}|a {animal}|a {person}|a {vehicle}|a {building}|{plant}|"
    "a {material} {thing}|a {furniture}|{fruit}|a {colour} {vehicle}|a {worker}|a {colour} {furniture}",
    "weather": "heavy rain|snowfall|fog|lightning|a tornado|a flood|strong wind|hail|a sandstorm|"
    "melting ice|northern lights|a rainbow|drought|frost on a window|high waves|an avalanche|"
    "storm clouds|morning dew",
    "science": "the moon|planet earth from space|a satellite|a rocket launch|a galaxy|"
    "cells under a microscope|a solar eclipse|a circuit board|a robot arm|a wind turbine|solar panels|"
    "a dinosaur skeleton|a crystal|a telescope dome|test tubes|a 3d printer|a server room|a drone|"
    "a fossil|a nuclear plant|a brain scan",
}  # fmt: skip
"""What stands for a name in braces."""

FORMS: Final[dict[str, tuple[str, ...]]] = {
    "people": (
        "a {person} {does}", "a {person} {look} {does}", "{person} {does} in the {room}",
        "a {worker} at work", "a {worker} {look}", "a {person} {look} in a {street}",
        "{many} {people} in a {street}", "a {mood} {person}", "{person} in a {colour} {garment}",
        "portrait of a {person} {look}", "{many} {people} sitting around a table",
        "a {person} and a {animal}", "a {worker} in a {room}", "{people} {sky} in a {street}",
        "someone {does}", "a {person} {does} {sky}", "hands of a {worker}",
    ),
    "animals": (
        "a {animal} {animal_does}", "a {colour} {animal}", "{animal} {wild}",
        "a {animal} {animal_does} {wild}", "a {animal} and a {animal}", "a herd of animals {wild} {sky}",
        "{view} a {animal}", "funny {animal}", "a {person} holding a {animal}",
        "a {animal} {beside} a {furniture}", "cute {animal} {animal_does}",
    ),
    "vehicles": (
        "a {colour} {vehicle}", "a {vehicle} {vehicle_does}", "an old {vehicle} {vehicle_does}",
        "a {colour} {vehicle} {vehicle_does}", "{vehicle} {sky}", "a {person} beside a {vehicle}",
        "a {worker} repairing a {vehicle}", "a {vehicle} {beside} a {building}", "toy {vehicle}",
        "inside of a {vehicle}", "{many} people in a {vehicle}",
    ),
    "food": (
        "{food} {dish}", "{fruit} {dish}", "a glass of {drink}", "{food} with {fruit}",
        "a {person} eating {food}", "a {worker} preparing {food}", "{fruit} and {fruit}",
        "{drink} and {food}", "homemade {food}", "a cup of {drink} {beside} a {thing}",
        "a table full of food in a {room}", "{view} {food}", "fresh {fruit}",
    ),
    "nature": (
        "a {nature} {sky}", "{mood} {nature}", "{nature} with a {building} {sky}",
        "a {person} looking at a {nature}", "{plant} {sky}", "{view} {plant}",
        "{weather} over a {nature}", "{weather} in a {street}", "{view} a {nature}",
        "{many} tents by a {nature}", "a path through a {nature}", "{nature} seen from a {vehicle}",
        "a {nature} without people", "{plant} in a garden",
    ),
    "places": (
        "a {style} {building}", "a {style} {building} {sky}", "a busy {street} {sky}",
        "an empty {street}", "a {street} in a {mood} mood", "a {room} with a {furniture}",
        "a {mood} {room}", "a {style} {room}", "{view} a {building}", "a {building} {beside} a {nature}",
        "a {colour} door of a {building}", "a {colour} {furniture} in a {room}", "people in a {room}",
        "{street} with {many} {people}", "the inside of a {building}",
    ),
    "things": (
        "a {colour} {thing}", "a {material} {thing} {on}", "a {thing} {on}", "a {colour} {thing} {on}",
        "{anything} {beside} {anything}", "{many} things {on}", "a {thing} and a {thing}",
        "{view} a {thing}", "a {person} with a {thing}", "{material} {thing}", "{science}",
        "{view} {science}", "a {worker} with a {material} {thing}",
    ),
    "events": (
        "{event}", "{event} {event_part}", "{sport} {moment}", "{people} at a {event}",
        "a {person} playing {sport}", "{event} in a {building}", "{event} {sky}",
        "{many} people doing {sport}", "a {mood} {event}", "photos of the {event} last year",
        "my {event}", "a {worker} at a {event}",
    ),
    "documents": (
        "{document}", "{art} of {subject}", "a {document} {on}", "a {colour} {document}", "{mood} {art}",
        "{art} of a {nature} {sky}", "a {person} in front of a {document}", "photo of a {document}",
        "a text about {food}", "an advertisement with a {vehicle}", "{art} with a {animal}",
    ),
    "words": (
        "{nature} {sky}", "{colour} {vehicle} {street}", "{animal} {mood}", "{person} {garment} {colour}",
        "{building} {mood} {sky}", "{food} {drink}", "{event} {colour} {garment}", "{sport}",
        "{room} {furniture}", "{mood} {people}", "{plant} {colour}", "{material} {furniture}",
        "{colour} and {colour}", "{weather}", "no people, only {plant}",
        "something {colour} {beside} something {colour}", "everything {colour}",
    ),
}  # fmt: skip
"""Forms of sentences; every group gives as many."""
_NAME: Final = re.compile(r"\{(\w+)\}")


def sentences(count: int = COUNT) -> list[str]:
    """So many different sentences, each group's turn after turn."""
    chance, found = random.Random(12), dict[str, None]()
    groups = list(FORMS.values())
    while len(found) < count:
        form = chance.choice(groups[len(found) % len(groups)])
        found.setdefault(_filled(form, chance))
    return list(found)


def _filled(form: str, chance: random.Random) -> str:
    while _NAME.search(form):
        form = _NAME.sub(lambda name: chance.choice(WORDS[name[1]].split("|")), form)
    form = re.sub(r"\ba (a|an|two|three|several) ", r"\1 ", form)
    return re.sub(r"\b([Aa]) (?=[aeio]|u[^ns]|hour|x-)", r"\1n ", form)


def main() -> None:
    """Write the file."""
    FILE.write_text("\n".join(sentences()) + "\n", "utf-8")


if __name__ == "__main__":
    main()
