import assert from "node:assert/strict";
import { createClient } from "./generated/client/index.js";
import { createTerm, deleteTerm, listTerms, readTerm, search, updateTerm, type TermCard } from "./generated/index.js";

const baseUrl = process.env["TERMBASE_ADDRESS"]!;
const client = createClient({ baseUrl });
const desk = createClient({ baseUrl, auth: () => process.env["TERMBASE_TOKEN"] });

// Read a page.
const page = await readTerm({ client, path: { slug: "foundation-model" } });
assert(page.data);
assert.equal(page.data.name, "Foundation Model");
assert.equal(page.data.category.slug, "core-concepts");
const country: string | null | undefined = page.data.companies.items[0]?.country;
assert.equal(typeof country, "string");

// Walk a list to its end.
const pageOf = (cursor?: string) => listTerms({ client, query: { limit: 5, ...(cursor ? { cursor } : {}) } });
const terms: TermCard[] = [];
let list = await pageOf();
terms.push(...list.data?.items ?? []);
while (list.data?.next_cursor) {
    list = await pageOf(list.data.next_cursor);
    terms.push(...list.data?.items ?? []);
}
assert.equal(terms.length, list.data?.total);
assert.equal(new Set(terms.map(term => term.id)).size, terms.length);
assert(terms.length > 5);

// Search, with a slip.
const found = await search({ client, query: { q: "foundatoin model" } });
assert.equal(found.data?.items[0]?.slug, "foundation-model");
assert.equal(found.data.items[0].tier, "typo");

// What does not exist is a problem that says what is close.
const missing = await readTerm({ client, path: { slug: "foundation-modle" } });
assert.equal(missing.error?.code, "not_found");
assert.equal(missing.error.suggestions[0], "foundation-model");

// A mistake is told with its place.
const refused = await createTerm({ client: desk, body: { name: "Hey", definition: "A greeting.", category: "nowhere" } });
assert.equal(refused.error?.code, "invalid_document");
assert.deepEqual(refused.error.errors.map(fault => [fault.pointer, fault.code]), [["/category", "unknown_reference"]]);

// Create, change, and lose the change that builds on what was there before.
const created = await createTerm({ client: desk, body: { name: "Hey", definition: "A greeting.", category: "training" } });
assert(created.data);
const path = { slug: created.data.slug };
const headers = { "If-Match": created.response!.headers.get("ETag")! };
const changed = await updateTerm({ client: desk, path, headers, body: { definition: "A short greeting." } });
assert.equal(changed.data?.version, 2);
const lost = await updateTerm({ client: desk, path, headers, body: { definition: "Lost." } });
assert.equal(lost.response?.status, 412);
assert.equal(lost.error?.code, "precondition_failed");
assert.deepEqual(lost.error.errors.map(fault => fault.code), ["stale", "changed_since"]);

// Delete.
const deleted = await deleteTerm({ client: desk, path, query: { message: "Out of scope." } });
assert.equal(deleted.response?.status, 204);
const gone = await readTerm({ client: desk, path });
assert.equal(gone.error?.status, 410);
