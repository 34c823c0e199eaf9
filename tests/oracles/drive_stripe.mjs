// Drives the sandbox with Stripe's own package: drive_stripe.mjs URL SECRET_KEY.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";

import Stripe from "stripe";

const [url, key] = process.argv.slice(2);
const { hostname, port } = new URL(url);
const stripe = new Stripe(key, { protocol: "http", host: hostname, port });

const arrived = [];
const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  arrived.push([Buffer.concat(chunks), request.headers["stripe-signature"]]);
  response.end();
  server.emit("arrived");
}).listen(0, "127.0.0.1");
await once(server, "listening");

const submit = async (path, form) => {
  const body = new URLSearchParams(form);
  return (await fetch(url + path, { method: "POST", body, redirect: "manual" })).status;
};

// Returns the path to which a page leads.
const target = async (page) => {
  const { headers } = await fetch(page, { redirect: "manual" });
  return new URL(headers.get("location"), url).pathname;
};

const endpoint = await stripe.webhookEndpoints.create({
  url: `http://127.0.0.1:${server.address().port}/`,
  enabled_events: ["checkout.session.completed"],
});
const product = await stripe.products.create({ name: "Professional" });
const price = await stripe.prices.create({
  product: product.id,
  currency: "usd",
  unit_amount: 4900,
  recurring: { interval: "month" },
});
const customers = [];
for (let n = 0; n < 12; n++) {
  const metadata = { customer_id: `cust_${n}` };
  customers.push(await stripe.customers.create({ email: `c${n}@example.com`, metadata }));
}
const customer = customers[7];
const changed = await stripe.customers.update(customer.id, { name: "Ada" });
assert.equal(changed.metadata.customer_id, "cust_7");
const found = await stripe.customers.search({ query: "metadata['customer_id']:'cust_7'" });
assert.deepEqual(found.data.map((one) => one.id), [customer.id]);
const listed = [];
for await (const one of stripe.customers.list({ limit: 5 })) listed.push(one.id);
assert.deepEqual(listed, customers.map((one) => one.id).reverse());
console.log("customers: created, changed, found, listed");

const wanted = {
  mode: "subscription",
  customer: customer.id,
  line_items: [{ price: price.id, quantity: 1 }],
  success_url: "http://localhost/ok?session={CHECKOUT_SESSION_ID}",
  cancel_url: "http://localhost/no",
  subscription_data: { metadata: { customer_id: "cust_7" } },
};
const idempotent = { idempotencyKey: "checkout" };
let session = await stripe.checkout.sessions.create(wanted, idempotent);
const again = await stripe.checkout.sessions.create(wanted, idempotent);
assert.equal(again.id, session.id);
await assert.rejects(
  stripe.checkout.sessions.create({ ...wanted, locale: "de" }, idempotent),
  { type: "StripeIdempotencyError" },
);
assert.equal(await submit(`/checkout/${session.id}`, { card: "4000000000000002" }), 200);
assert.equal((await stripe.checkout.sessions.retrieve(session.id)).status, "open");
assert.equal(await submit(`/checkout/${session.id}`, { card: "4242424242424242" }), 303);
session = await stripe.checkout.sessions.retrieve(session.id, { expand: ["subscription"] });
assert.deepEqual([session.status, session.payment_status], ["complete", "paid"]);
console.log("checkout: declined, then paid, under one idempotency key");

const { subscription } = session;
assert.equal(subscription.status, "active");
const end = subscription.items.data[0].current_period_end;
const ending = await stripe.subscriptions.update(subscription.id, { cancel_at_period_end: true });
assert.equal(ending.cancel_at, end);
await stripe.subscriptions.update(subscription.id, { cancel_at_period_end: false });
const portal = await stripe.billingPortal.sessions.create({ customer: customer.id });
assert.equal((await fetch(portal.url)).status, 200);
console.log("subscription: active, ending, going on, in the portal");

const invoices = await stripe.invoices.list({
  subscription: subscription.id,
  expand: ["data.payments"],
});
const intent = invoices.data[0].payments.data[0].payment.payment_intent;
assert.equal(invoices.data[0].amount_paid, 4900);
const refund = await stripe.refunds.create({ payment_intent: intent, amount: 900 });
assert.equal(refund.status, "succeeded");
assert.equal((await stripe.subscriptions.cancel(subscription.id)).status, "canceled");
console.log("invoice: paid, refunded in part; subscription: canceled");

const made = await stripe.prices.create({
  product: product.id,
  currency: "usd",
  unit_amount: 19900,
  currency_options: { eur: { unit_amount: 17900 } },
});
const bought = await stripe.prices.retrieve(made.id, { expand: ["currency_options"] });
assert.deepEqual([bought.type, bought.recurring], ["one_time", null]);
assert.equal(bought.currency_options.eur.unit_amount, 17900);
const coupon = await stripe.coupons.create({ percent_off: 10, duration: "once" });
const code = await stripe.promotionCodes.create({
  promotion: { type: "coupon", coupon: coupon.id },
  code: "FALL",
  max_redemptions: 1,
});
const codes = await stripe.promotionCodes.list({ code: "fall", limit: 1 });
assert.equal(codes.data[0].id, code.id);
const sale = await stripe.checkout.sessions.create({
  mode: "payment",
  customer: customer.id,
  currency: "eur",
  line_items: [{
    price: made.id,
    quantity: 2,
    adjustable_quantity: { enabled: true, minimum: 1, maximum: 5 },
  }],
  discounts: [{ promotion_code: code.id }],
  invoice_creation: { enabled: true, invoice_data: { metadata: { order: "ord_1" } } },
  success_url: "http://localhost/ok",
});
const quantity = { price: made.id, quantity: "3" };
assert.equal(await submit(`/checkout/${sale.id}/quantity`, quantity), 303);
assert.equal(await submit(`/checkout/${sale.id}`, { card: "4242424242424242" }), 303);
const sales = await stripe.checkout.sessions.list({
  customer: customer.id,
  status: "complete",
  expand: ["data.line_items"],
});
const paid = sales.data[0];
assert.deepEqual([paid.id, paid.payment_status, paid.mode], [sale.id, "paid", "payment"]);
assert.deepEqual([paid.line_items.data[0].quantity, paid.amount_total], [3, 48330]);
const ofIntent = await stripe.checkout.sessions.list({ payment_intent: paid.payment_intent });
assert.equal(ofIntent.data[0].id, sale.id);
let later = null;
while (later === null) {
  await new Promise((done) => setTimeout(done, 100));
  later = (await stripe.checkout.sessions.retrieve(sale.id)).invoice;
}
const invoice = await stripe.invoices.retrieve(later, { expand: ["payments"] });
const { status, billing_reason, parent } = invoice;
assert.deepEqual([status, billing_reason, parent], ["paid", "manual", null]);
assert.deepEqual([invoice.amount_paid, invoice.currency], [48330, "eur"]);
assert.equal(invoice.payments.data[0].payment.payment_intent, paid.payment_intent);
assert.deepEqual([invoice.metadata.order, invoice.lines.data[0].quantity], ["ord_1", 3]);
assert.equal((await stripe.promotionCodes.retrieve(code.id)).active, false);
console.log("one-time payment: discounted, in euros, then its invoice");

const opened = await stripe.checkout.sessions.create({
  mode: "subscription",
  line_items: [{ price: price.id, quantity: 2 }],
  success_url: "http://localhost/ok",
});
assert.equal(await submit(`/checkout/${opened.id}`, { card: "4242424242424242" }), 303);
const { subscription: team } = await stripe.checkout.sessions.retrieve(opened.id, {
  expand: ["subscription"],
});
const seats = {
  items: [{ id: team.items.data[0].id, quantity: 5 }],
  proration_behavior: "always_invoice",
  proration_date: Math.floor(Date.now() / 1000),
};
const preview = await stripe.invoices.createPreview({
  subscription: team.id,
  subscription_details: seats,
});
assert.deepEqual(preview.lines.data.map((line) => line.quantity), [2, 5]);
assert(preview.lines.data.every((line) => line.parent.subscription_item_details.proration));
const grown = await stripe.subscriptions.update(team.id, {
  ...seats,
  payment_behavior: "pending_if_incomplete",
  expand: ["latest_invoice.payments.data.payment.payment_intent"],
});
assert.deepEqual([grown.pending_update, grown.items.data[0].quantity], [null, 5]);
assert.equal(grown.latest_invoice.amount_paid, preview.amount_due);
const [attempt] = grown.latest_invoice.payments.data;
assert.equal(attempt.payment.payment_intent.status, "succeeded");
console.log("seats: previewed, then changed and paid");

assert.equal((await stripe.tax.settings.retrieve()).status, "active");
const company = await stripe.customers.create({
  business_name: "Engines",
  address: { country: "DE" },
  tax_id_data: [{ type: "eu_vat", value: "DE123456789" }],
});
assert.equal(company.name, "Engines");
assert.equal((await stripe.customers.listTaxIds(company.id)).data[0].country, "DE");
const net = await stripe.prices.create({
  product: product.id,
  currency: "usd",
  unit_amount: 1000,
  tax_behavior: "exclusive",
  recurring: { interval: "month" },
});
const trial = await stripe.subscriptions.create({
  customer: company.id,
  items: [{ price: net.id }],
  automatic_tax: { enabled: true },
  trial_period_days: 14,
  trial_settings: { end_behavior: { missing_payment_method: "pause" } },
});
assert.equal(trial.status, "trialing");
const paused = await stripe.subscriptions.update(trial.id, { trial_end: "now" });
assert.equal(paused.status, "paused");
const resumed = await stripe.subscriptions.resume(trial.id, { expand: ["latest_invoice"] });
const { total, total_excluding_tax, customer_tax_ids } = resumed.latest_invoice;
assert.deepEqual([total, total_excluding_tax], [1200, 1000]);
assert.equal(customer_tax_ids[0].value, "DE123456789");
console.log("trial: paused without a card; its invoice: taxed, with the tax id");

const extra = await stripe.prices.create({
  product: product.id,
  currency: "usd",
  unit_amount: 300,
  recurring: { interval: "month" },
});
const half = await stripe.coupons.create({ percent_off: 50, duration: "forever" });
await stripe.promotionCodes.create({
  promotion: { type: "coupon", coupon: half.id },
  code: "SPRING",
});
const link = await stripe.paymentLinks.create({
  line_items: [{ price: price.id, quantity: 1 }, { price: extra.id, quantity: 2 }],
  allow_promotion_codes: true,
});
const links = await stripe.paymentLinks.list({ active: true });
assert.equal(links.data[0].id, link.id);
const buy = async (code, card) => {
  const path = await target(link.url);
  if (code !== null) assert.equal(await submit(`${path}/code`, { code }), 303);
  assert.equal(await submit(path, { email: "grace@example.com", card }), 303);
  return stripe.checkout.sessions.retrieve(path.split("/").at(-1), { expand: ["subscription"] });
};
const sold = await buy("spring", "4242424242424242");
assert.deepEqual(
  [sold.payment_link, sold.payment_status, sold.amount_total],
  [link.id, "paid", 2750],
);
const { subscription: two } = sold;
const quantities = (subscription) => subscription.items.data.map((item) => item.quantity);
assert.deepEqual(quantities(two), [1, 2]);
console.log("payment link: opened, discounted, paid for two items");

const fingerprint = async ({ customer }) =>
  (await stripe.paymentMethods.list({ customer })).data[0].card.fingerprint;
const one = await fingerprint(sold);
assert.equal(one, await fingerprint(await buy(null, "4242424242424242")));
assert.notEqual(one, await fingerprint(await buy(null, "5555555555554444")));
console.log("cards: the fingerprint is that of the number");

const { url: page } = await stripe.billingPortal.sessions.create({ customer: two.customer });
const { pathname: itsPortal } = new URL(page);
assert.equal(await submit(`${itsPortal}/card`, { card: "4000000000000341" }), 303);
const waiting = await stripe.subscriptions.update(two.id, {
  items: two.items.data.map(({ id }) => ({ id, quantity: 3 })),
  discounts: [{ coupon: coupon.id }],
  proration_behavior: "always_invoice",
  payment_behavior: "pending_if_incomplete",
  expand: ["latest_invoice"],
});
assert.deepEqual(quantities(waiting), [1, 2]);
const pending = waiting.pending_update.subscription_items;
assert.deepEqual(pending.map((item) => item.quantity), [3, 3]);
assert.equal(waiting.latest_invoice.status, "open");
const { pathname: bill } = new URL(waiting.latest_invoice.hosted_invoice_url);
assert.equal(await submit(bill, { card: "4000000000000002" }), 200);
assert.equal(await submit(bill, { card: "4242424242424242" }), 303);
const applied = await stripe.subscriptions.retrieve(two.id, { expand: ["discounts"] });
assert.equal(applied.pending_update, null);
assert.deepEqual(quantities(applied), [3, 3]);
assert.deepEqual(applied.discounts.map(({ source }) => source.coupon), [coupon.id]);
console.log("change of two items with a discount: declined, then paid on the page of its invoice");

if (arrived.length === 0) await once(server, "arrived");
const [body, signature] = arrived[0];
const event = stripe.webhooks.constructEvent(body, signature, endpoint.secret);
assert.equal(event.data.object.id, session.id);
const altered = body.toString().replace("paid", "void");
assert.throws(() => stripe.webhooks.constructEvent(altered, signature, endpoint.secret), {
  type: "StripeSignatureVerificationError",
});
const types = new Set();
for await (const one of stripe.events.list({ limit: 100 })) types.add(one.type);
assert(types.has("charge.refunded") && types.has("invoice.paid"));
console.log("webhook: accepted; altered: refused; events: listed");

await assert.rejects(stripe.customers.retrieve("cus_no"), { code: "resource_missing" });
await assert.rejects(stripe.customers.create({ emial: "x" }), { code: "parameter_unknown" });
console.log("errors: as Stripe's");
server.close();
