// Uses the sandbox's pages as people do: sandbox_pages.mjs URL SECRET_KEY SCREENSHOT_FOLDER.
// Pays with the keyboard alone, is declined, answers 3-D Secure, and changes its mind in the
// portal on a phone; scripts are switched off.

import { chromium } from "playwright-core";
import Stripe from "stripe";

const [base, key, screenshots] = process.argv.slice(2, 5);
const { hostname, port } = new URL(base);
const stripe = new Stripe(key, { protocol: "http", host: hostname, port });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

const must = (holds, what) => {
  if (!holds) throw new Error(`${what} does not hold`);
  console.log(what);
};

try {
  const options = { javaScriptEnabled: false, viewport: { width: 1000, height: 800 } };
  const page = await (await browser.newContext(options)).newPage();
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  const picture = (name) => page.screenshot({ path: `${screenshots}/${name}.png`, fullPage: true });

  const customer = await stripe.customers.create({ email: "ada@example.com" });
  const open = async () => {
    const session = await stripe.checkout.sessions.create({
      mode: "subscription",
      customer: customer.id,
      line_items: [{ price: "price_pro_monthly", quantity: 1 }],
      success_url: `${base}/mail?paid={CHECKOUT_SESSION_ID}`,
      cancel_url: `${base}/mail?canceled`,
    });
    await page.goto(session.url);
    return session.id;
  };
  const status = async (id) => (await stripe.checkout.sessions.retrieve(id)).payment_status;

  let session = await open();
  await picture("sandbox-1-checkout");
  await page.getByLabel("Card number").fill("4000 0000 0000 0002");
  await page.getByRole("button", { name: "Subscribe" }).click();
  await picture("sandbox-2-declined");
  must(await page.getByRole("alert").isVisible(), "declined: the page says so");
  await page.getByLabel("Card number").focus();
  await page.keyboard.press("Control+A");
  await page.keyboard.type("4242 4242 4242 4242");
  await page.keyboard.press("Enter");
  await page.waitForURL(`**/mail?paid=${session}`);
  must(await status(session) === "paid", "paid by keyboard: back at the vendor's page");

  session = await open();
  await page.getByRole("button", { name: "4000002500003155" }).click();
  await page.getByRole("button", { name: "Complete" }).waitFor();
  await picture("sandbox-3-authenticate");
  must(await status(session) === "unpaid", "3-D Secure: unpaid while it is open");
  await page.getByRole("button", { name: "Fail" }).click();
  must(await page.getByRole("alert").isVisible(), "3-D Secure: failed, and asked again");
  await page.getByRole("button", { name: "4000002500003155" }).click();
  await page.getByRole("button", { name: "Complete" }).click();
  await page.waitForURL(`**/mail?paid=${session}`);
  must(await status(session) === "paid", "3-D Secure: completed");

  session = await open();
  await page.getByRole("link", { name: "Back without subscribing" }).click();
  must(page.url().endsWith("/mail?canceled"), "canceled: back at the vendor's page");

  const product = await stripe.products.create({ name: "Studio" });
  const price = await stripe.prices.create({
    product: product.id, currency: "usd", unit_amount: 19900,
  });
  const sale = await stripe.checkout.sessions.create({
    mode: "payment",
    line_items: [{ price: price.id, quantity: 1, adjustable_quantity: { enabled: true } }],
    invoice_creation: { enabled: true },
    success_url: `${base}/mail?paid={CHECKOUT_SESSION_ID}`,
  });
  await page.goto(sale.url);
  await page.getByLabel("Quantity").fill("3");
  await page.getByRole("button", { name: "Update" }).click();
  must(await page.getByText("597.00 USD").isVisible(), "one-time payment: three units");
  await picture("sandbox-7-pay-once");
  await page.getByLabel("Email").fill("grace@example.com");
  await page.getByRole("button", { name: "Pay", exact: true }).click();
  await page.waitForURL(`**/mail?paid=${sale.id}`);
  must(await status(sale.id) === "paid", "one-time payment: paid");

  const net = await stripe.prices.create({
    product: product.id, currency: "usd", unit_amount: 1000, tax_behavior: "exclusive",
    recurring: { interval: "month" },
  });
  const taxed = await stripe.checkout.sessions.create({
    mode: "subscription",
    line_items: [{ price: net.id, quantity: 1 }],
    automatic_tax: { enabled: true },
    tax_id_collection: { enabled: true },
    consent_collection: { terms_of_service: "required" },
    success_url: `${base}/mail?paid={CHECKOUT_SESSION_ID}`,
  });
  await page.goto(taxed.url);
  await page.getByLabel("Country").fill("de");
  await page.getByRole("button", { name: "Update tax" }).click();
  must(await page.getByText("Due today: 12.00 USD").isVisible(), "taxes: added for the country");
  await page.getByLabel("Email").fill("charles@example.com");
  await page.getByLabel("Business name").fill("Analytical Engines");
  await page.getByLabel("Tax ID").fill("DE 123456789");
  await picture("sandbox-8-taxes");
  await page.getByRole("button", { name: "Subscribe" }).click();
  must(await status(taxed.id) === "unpaid", "terms: not paid without them");
  await page.getByLabel("I accept the terms of service").check();
  await page.getByRole("button", { name: "Subscribe" }).click();
  await page.waitForURL(`**/mail?paid=${taxed.id}`);
  const { customer_details: buyer } = await stripe.checkout.sessions.retrieve(taxed.id);
  must(buyer.tax_ids[0].value === "DE123456789", "taxes: the customer has the tax id");

  const half = await stripe.coupons.create({ percent_off: 50, duration: "once" });
  await stripe.promotionCodes.create({
    promotion: { type: "coupon", coupon: half.id }, code: "FALL",
  });
  const link = await stripe.paymentLinks.create({
    line_items: [{ price: "price_pro_monthly", quantity: 1 }], allow_promotion_codes: true,
  });
  await page.goto(link.url);
  const bought = page.url().split("/").at(-1);
  const enter = async (code) => {
    await page.getByLabel("Promotion code").fill(code);
    await page.getByRole("button", { name: "Apply" }).click();
  };
  await enter("SPRING");
  must(await page.getByRole("alert").isVisible(), "payment link: an unknown code is refused");
  await enter("fall");
  must(await page.getByText("Due today: 24.50 USD").isVisible(), "payment link: a code halves it");
  await picture("sandbox-9-payment-link");
  await page.getByLabel("Email").fill("mary@example.com");
  await page.getByRole("button", { name: "Subscribe" }).click();
  const sold = await stripe.checkout.sessions.retrieve(bought, { expand: ["subscription"] });
  must(sold.payment_status === "paid", "payment link: paid");

  const own = await stripe.billingPortal.sessions.create({ customer: sold.customer });
  await page.goto(own.url);
  await page.getByRole("combobox", { name: /^Card/ }).selectOption("4000000000000341");
  await page.getByRole("button", { name: "Use this card" }).click();
  const [item] = sold.subscription.items.data;
  const waiting = await stripe.subscriptions.update(sold.subscription.id, {
    items: [{ id: item.id, quantity: 3 }],
    proration_behavior: "always_invoice",
    payment_behavior: "pending_if_incomplete",
    expand: ["latest_invoice"],
  });
  await page.goto(waiting.latest_invoice.hosted_invoice_url);
  await page.getByRole("button", { name: "4000000000000002" }).click();
  must(await page.getByRole("alert").isVisible(), "invoice: declined");
  await picture("sandbox-10-invoice");
  await page.getByRole("button", { name: "4242424242424242" }).click();
  must(await page.getByText(", paid").isVisible(), "invoice: paid on its page");
  const { items } = await stripe.subscriptions.retrieve(sold.subscription.id);
  must(items.data[0].quantity === 3, "invoice: the change is made");

  await page.setViewportSize({ width: 390, height: 844 });
  const portal = await stripe.billingPortal.sessions.create({ customer: customer.id });
  await page.goto(portal.url);
  const section = page.getByRole("region", { name: "Subscription" }).first();
  await section.getByLabel("Quantity").fill("3");
  await section.getByRole("button", { name: "Change quantity" }).click();
  must(await section.getByLabel("Quantity").inputValue() === "3", "portal: three units");
  await section.getByRole("button", { name: "Cancel at the end of the period" }).click();
  must(await section.getByText("Ends on").isVisible(), "portal: canceled");
  await picture("sandbox-4-portal-on-a-phone");
  const { x, width } = await page.getByRole("combobox", { name: /^Card/ }).boundingBox();
  must(x + width <= 390, "portal: fits on a phone");
  await section.getByRole("button", { name: "Do not cancel" }).click();
  must(!await section.getByText("Ends on").isVisible(), "portal: not canceled any more");
  await section.getByLabel("Change the plan to").selectOption("price_team_monthly");
  await section.getByRole("button", { name: "Change at the end of the period" }).click();
  must(await section.getByText("price_team_monthly from").isVisible(), "portal: a change is scheduled");
  await section.getByRole("button", { name: "Do not change" }).click();
  must(!await section.getByText("price_team_monthly from").isVisible(), "portal: not scheduled any more");
  await section.getByLabel("Change the plan to").selectOption("price_team_monthly");
  await section.getByRole("button", { name: "Change plan" }).click();
  await page.getByRole("combobox", { name: /^Card/ }).selectOption("4000000000000341");
  await page.getByRole("button", { name: "Use this card" }).click();
  const { data } = await stripe.subscriptions.list({ customer: customer.id });
  const prices = data.map((one) => one.items.data[0].price.id);
  must(prices.includes("price_team_monthly"), "portal: another plan, another card");

  await page.setViewportSize({ width: 1000, height: 800 });
  await page.goto(base);
  await page.getByRole("button", { name: "A month ahead" }).click();
  await picture("sandbox-5-overview");
  const after = await stripe.subscriptions.list({ customer: customer.id });
  must(after.data.every((one) => one.status === "past_due"), "clock: renewals failed with that card");
  await page.goto(`${base}/mail`);
  await picture("sandbox-6-mail");
  must(complaints.length === 0, `complaints of the browser: ${complaints.length}`);
} finally {
  await browser.close();
}
