"""Generated pages are those the code would generate now."""

from infra import documentation


def test_the_page_of_products_is_up_to_date() -> None:
    assert (documentation.FOLDER / "products.md").read_text() == documentation.products_page()
