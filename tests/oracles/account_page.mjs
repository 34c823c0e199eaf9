// Uses the account page as a customer does, on a phone: account_page.mjs BASE_URL SCREENSHOT_FOLDER.
// Logs in, sees the license, and is told why no subscription is resumed and no portal opens. The
// page complains about nothing.

import { chromium } from "playwright-core";

const [base, screenshots] = process.argv.slice(2, 4);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

try {
  const page = await browser.newPage({ viewport: { width: 390, height: 844 } });
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  const says = (id, text) => page.locator(`#${id}`, { hasText: text }).waitFor();

  const account = { email: "ada@example.com", password: "SecurePass123" };
  const options = { method: "POST", headers: { "Content-Type": "application/json" } };
  await fetch(`${base}/api/customers/signup`, { ...options, body: JSON.stringify(account) });

  await page.goto(`${base}/account#plans`);
  await page.getByText("Professional").first().waitFor();
  await page.getByRole("button", { name: "Professional" }).first().click();
  await says("result", "Please log in first.");
  await page.getByLabel("Email").fill(account.email);
  await page.getByRole("button", { name: "I forgot my password" }).click();
  await says("result", "a mail with a link is on its way");
  await page.getByLabel("Password", { exact: true }).fill("WrongPass1234");
  await page.getByRole("button", { name: "Log in" }).click();
  await says("result", "the email address or the password is wrong");
  // As if the subscription were paused. The server knows better, and refuses to resume it.
  const paused = { json: { status: "paused" } };
  await page.route("**/api/subscriptions/current", (route) => route.fulfill(paused));
  await page.getByLabel("Password", { exact: true }).fill(account.password);
  await page.getByRole("button", { name: "Log in" }).click();
  await says("license", "Your license: trial, until");
  await page.screenshot({ path: `${screenshots}/account.png`, fullPage: true });
  await page.getByRole("button", { name: "Resume and pay" }).click();
  await says("result", "selling is off");
  console.log("resume:", await page.locator("#result").innerText());
  await page.getByRole("button", { name: "Manage your subscription" }).click();
  await says("result", "selling is off");
  console.log("portal:", await page.locator("#result").innerText());
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  if (width > 390) throw new Error(`the page is ${width} pixels wide`);

  await page.goto(`${base}/account/portal?token=llnk_wrong`);
  await page.getByText("This link no longer works").first().waitFor();
  console.log("closed:", new URL(page.url()).pathname);
  // The refused calls are shown in the console as well.
  const unexpected = complaints.filter((complaint) => !complaint.startsWith("Failed to load resource"));
  if (unexpected.length > 0) throw new Error(`the page complains: ${unexpected.join("\n")}`);
} finally {
  await browser.close();
}
