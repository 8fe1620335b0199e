"""All products of all sectors."""

from products.sectors import definition, ecology, emergency, natural_resources, rural_revitalization, transport

SECTORS = (natural_resources, rural_revitalization, ecology, transport, emergency)


def definitions() -> tuple[definition.ProductDefinition, ...]:
    """Every declared product.

    Returns
    -------
    tuple of ProductDefinition
        Sector by sector.
    """
    return tuple(product for sector in SECTORS for product in sector.definitions())


def definition_of(code: str) -> definition.ProductDefinition:
    """Product of a code.

    Parameters
    ----------
    code : str
        Product code.

    Returns
    -------
    ProductDefinition
        Its declaration.

    Raises
    ------
    KeyError
        Where there is no such product.
    """
    for product in definitions():
        if product.code == code:
            return product
    raise KeyError(f"no product {code}; there are {', '.join(product.code for product in definitions())}")
