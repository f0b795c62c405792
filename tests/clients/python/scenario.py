import os

from generated import AuthenticatedClient, Client
from generated.api.search import search
from generated.api.terms import create_term, delete_term, list_terms, read_term, update_term
from generated.models import Problem, SearchResults, TermCard, TermCreate, TermList, TermPage, TermPatch
from generated.types import UNSET

base_url = os.environ["TERMBASE_ADDRESS"]
termbase = Client(base_url)
desk = AuthenticatedClient(base_url, token=os.environ["TERMBASE_TOKEN"])

# Read a page.
page = read_term.sync("foundation-model", client=termbase)
assert isinstance(page, TermPage), page
assert page.name == "Foundation Model"
assert page.category.slug == "core-concepts"
country: str | None = page.companies.items[0].country
assert country

# Walk a list to its end.
terms: list[TermCard] = []
cursor: str | None = None
while True:
    found = list_terms.sync(client=termbase, limit=5, cursor=cursor or UNSET)
    assert isinstance(found, TermList), found
    terms += found.items
    cursor = found.next_cursor
    if cursor is None:
        break
assert len(terms) == len({term.id for term in terms}) == found.total > 5

# Search, with a slip.
hits = search.sync(client=termbase, q="foundatoin model")
assert isinstance(hits, SearchResults), hits
assert (hits.items[0].slug, hits.items[0].tier) == ("foundation-model", "typo")

# What does not exist is a problem that says what is close.
missing = read_term.sync("foundation-modle", client=termbase)
assert isinstance(missing, Problem), missing
assert missing.code == "not_found" and missing.suggestions[0] == "foundation-model"

# A mistake is told with its place.
refused = create_term.sync(client=desk, body=TermCreate(name="Python", definition="A language.", category="nowhere"))
assert isinstance(refused, Problem), refused
assert refused.code == "invalid_document"
assert [(fault.pointer, fault.code) for fault in refused.errors] == [("/category", "unknown_reference")]

# Create, change, and lose the change that builds on what was there before.
created = create_term.sync_detailed(client=desk, body=TermCreate(name="Python", definition="A language.", category="training"))
assert isinstance(created.parsed, TermPage), created
slug, tag = created.parsed.slug, created.headers["ETag"]
changed = update_term.sync(slug, client=desk, if_match=tag, body=TermPatch(definition="A language with indentation."))
assert isinstance(changed, TermPage) and changed.version == 2, changed
lost = update_term.sync(slug, client=desk, if_match=tag, body=TermPatch(definition="Lost."))
assert isinstance(lost, Problem), lost
assert lost.status == 412 and lost.code == "precondition_failed"
assert [fault.code for fault in lost.errors] == ["stale", "changed_since"]

# Delete.
deleted = delete_term.sync_detailed(slug, client=desk, message="Out of scope.")
assert deleted.status_code == 204, deleted
gone = read_term.sync(slug, client=desk)
assert isinstance(gone, Problem) and gone.status == 410, gone
