import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./generated/schema.js";

const baseUrl = process.env["TERMBASE_ADDRESS"]!;
const termbase = createClient<paths>({ baseUrl });
const desk = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${process.env["TERMBASE_TOKEN"]}` } });

// Read a page.
const page = await termbase.GET("/terms/{slug}", { params: { path: { slug: "foundation-model" } } });
assert(page.data);
assert.equal(page.data.name, "Foundation Model");
assert.equal(page.data.category.slug, "core-concepts");
const country: string | null | undefined = page.data.companies.items[0]?.country;
assert.equal(typeof country, "string");

// Walk a list to its end.
const pageOf = (cursor?: string) => termbase.GET("/terms", { params: { query: { limit: 5, ...(cursor ? { cursor } : {}) } } });
const terms: components["schemas"]["TermCard"][] = [];
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
const found = await termbase.GET("/search", { params: { query: { q: "foundatoin model" } } });
assert.equal(found.data?.items[0]?.slug, "foundation-model");
assert.equal(found.data.items[0].tier, "typo");

// What does not exist is a problem that says what is close.
const missing = await termbase.GET("/terms/{slug}", { params: { path: { slug: "foundation-modle" } } });
assert.equal(missing.error?.code, "not_found");
assert.equal(missing.error.suggestions[0], "foundation-model");

// A mistake is told with its place.
const refused = await desk.POST("/terms", { body: { name: "TypeScript", definition: "A language.", category: "nowhere" } });
assert.equal(refused.error?.code, "invalid_document");
assert.deepEqual(refused.error.errors.map(fault => [fault.pointer, fault.code]), [["/category", "unknown_reference"]]);

// Create, change, and lose the change that builds on what was there before.
const created = await desk.POST("/terms", { body: { name: "TypeScript", definition: "A language.", category: "training" } });
assert(created.data);
const path = { slug: created.data.slug };
const header = { "If-Match": created.response.headers.get("ETag")! };
const changed = await desk.PATCH("/terms/{slug}", { params: { path, header }, body: { definition: "JavaScript with types." } });
assert.equal(changed.data?.version, 2);
const lost = await desk.PATCH("/terms/{slug}", { params: { path, header }, body: { definition: "Lost." } });
assert.equal(lost.response.status, 412);
assert.equal(lost.error?.code, "precondition_failed");
assert.deepEqual(lost.error.errors.map(fault => fault.code), ["stale", "changed_since"]);

// Delete.
const deleted = await desk.DELETE("/terms/{slug}", { params: { path, query: { message: "Out of scope." } } });
assert.equal(deleted.response.status, 204);
const gone = await desk.GET("/terms/{slug}", { params: { path } });
assert.equal(gone.error?.status, 410);
