"""English words that say nothing of what a picture shows: a model that never learned them lacks nothing."""

from __future__ import annotations

from typing import Final

FUNCTION_WORDS: Final = frozenset(
    """
    a about above across after against all along also although always am among an and another any anyone
    anything are aren around as at away be because been before behind being below beneath beside besides
    between beyond both but by can cannot could couldn d did didn do does doesn doing don done down
    during each either else even ever every everyone everything few for from get gets getting give go
    goes had hadn has hasn have haven having he her here hers herself him himself his how however i if
    in inside into is isn it its itself just let like ll m many may maybe me might mine more most much
    must my myself near neither never no nobody none nor not nothing now of off on one ones only onto or
    other others our ours out outside over own per perhaps please quite rather re s same see seen shall
    she should shouldn since so some someone something still such t than that the their theirs them
    themselves then there these they this those though through thus to together too toward towards under
    until up upon us ve very via was wasn we were weren what when where whether which while who whom
    whose why will with within without won would wouldn yes yet you your yours find image images looking
    photo photograph photographs photos pic pics picture pictures show showing shown shows view
    """.split()  # noqa: SIM905
)
"""In lower case. The parts of "don't" and "it's" stand here, too, as tokenizers leave them."""
