"""What tokens cost, from the table that travels with the genai-prices package: no call is made for it."""

from typing import TYPE_CHECKING

from synth.models.base import Usage

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation


def price_usd(usage: Usage, model: str, *, provider: str = "", url: str = "") -> float | None:
    """What a `provider` of the table, or whoever answers under `url`, asks for `usage`; None if unknown."""
    import genai_prices  # here, since the table is large

    tokens = genai_prices.Usage(
        input_tokens=usage.prompt, output_tokens=usage.completion, cache_read_tokens=usage.cached
    )
    price: PriceCalculation
    try:
        if provider:
            price = genai_prices.calc_price(tokens, model, provider_id=provider)
        else:
            price = genai_prices.calc_price(tokens, model, provider_api_url=url)
    except (
        LookupError,
        ValueError,
    ):  # an unknown model; a usage that cannot be, such as more cached than sent
        return None
    return float(price.total_price)
