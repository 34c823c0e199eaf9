"use strict";

// Logs in, shows the license, and leads to the payment provider. The session token is kept in
// memory only.
const element = (id) => document.getElementById(id);
let token = "";

async function call(method, path, body) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const text = await response.text();
  const answer = text ? JSON.parse(text) : {};
  if (!response.ok) throw Object.assign(new Error(answer.detail), answer);
  return answer;
}

// Runs an action of the reader, and shows why it failed.
async function run(action) {
  element("result").textContent = "";
  try {
    await action();
  } catch (error) {
    element("result").textContent = error.message;
  }
}

function priceText({ amount, currency, interval }) {
  const format = new Intl.NumberFormat(undefined, { style: "currency", currency });
  const units = 10 ** format.resolvedOptions().maximumFractionDigits;
  const text = format.format(amount / units);
  if (interval === "once") return text;
  return interval === "updates" ? `${text} for updates` : `${text} per ${interval}`;
}

async function showPlans() {
  const { plans } = await call("GET", "/api/plans");
  for (const plan of plans) {
    for (const price of plan.prices) {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${plan.name}: ${priceText(price)}`;
      button.addEventListener("click", () => run(() => buy(plan.id, price)));
      item.append(button);
      element("prices").append(item);
    }
  }
  element("plans").hidden = element("prices").children.length === 0;
}

async function buy(plan, { interval, currency }) {
  if (!token) throw new Error("Please log in first.");
  const url = `${location.origin}/account`;
  const { checkout_url } = await call("POST", "/api/subscriptions/checkout",
    { plan, interval, currency, success_url: url, cancel_url: url });
  location.assign(checkout_url);
}

async function showLicense() {
  const { plan, expires_at } = await call("GET", "/api/licenses/current");
  const end = expires_at ? `until ${new Date(expires_at).toLocaleString()}` : "without an end";
  element("license").textContent = `Your license: ${plan}, ${end}.`;
}

// A subscription is paused, for example, at the end of a trial without a payment method.
async function showPause() {
  const subscription = await call("GET", "/api/subscriptions/current").catch(() => null);
  element("paused").hidden = subscription?.status !== "paused";
}

// Without a payment method, or if the payment fails, the answer names the page where to pay.
async function resume() {
  try {
    await call("POST", "/api/subscriptions/resume");
  } catch (error) {
    if (!error.payment_url) throw error;
    location.assign(error.payment_url);
    return;
  }
  element("paused").hidden = true;
  await showLicense();
}

element("login").addEventListener("submit", (event) => {
  event.preventDefault();
  run(async () => {
    const login = { email: element("email").value, password: element("password").value };
    token = (await call("POST", "/api/customers/login", login)).access_token;
    element("login").hidden = true;
    element("portal").hidden = false;
    await showPause();
    await showLicense();
  });
});
element("forgot").addEventListener("click", () => run(async () => {
  await call("POST", "/api/customers/password/forgot", { email: element("email").value });
  element("result").textContent = "If this address has an account, a mail with a link is on its way.";
}));
element("portal").addEventListener("click", () => run(async () => {
  const { portal_url } = await call("POST", "/api/subscriptions/portal", {});
  location.assign(portal_url);
}));
element("resume").addEventListener("click", () => run(resume));
run(showPlans);
