"""Veilsum on Flower: a strategy for the ServerApp, a ClientApp for the sites.

`VeilsumStrategy(inner)` makes an averaging strategy of Flower's sum under encryption;
`VeilsumClientApp` runs a site's train function and lets nothing but uploads out. Needs the extra
`veilsum[flower]`. Flower writes the network; the parties are those of `veilsum train`.
"""

from veilsum.flower.client_app import VeilsumClientApp
from veilsum.flower.policy import SitePolicy, prepare_site
from veilsum.flower.strategy import VeilsumStrategy

__all__ = ["SitePolicy", "VeilsumClientApp", "VeilsumStrategy", "prepare_site"]
