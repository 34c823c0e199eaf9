// Walks through Swagger UI as a newcomer would: swagger_ui.mjs BASE_URL SCREENSHOT_FOLDER.
// Sign up with the example as it stands, authorize with the token of the answer, see the license.
// What a newcomer needs is first, and each error shows its own example. The page complains about
// nothing, so its Content-Security-Policy forbids nothing that it needs.

import { chromium } from "playwright-core";

const [base, screenshots] = process.argv.slice(2, 4);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

try {
  const page = await browser.newPage({ viewport: { width: 1200, height: 1600 } });
  // The page takes a second, but the machine may be busy with other tests.
  page.setDefaultTimeout(120_000);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  const picture = (name) => page.screenshot({ path: `${screenshots}/${name}.png`, fullPage: true });
  const operation = (id) => page.locator(`[id$="-${id}"].opblock`);

  // Presses Execute and waits until the page shows the server's answer: its status and body. The
  // answer of an earlier press stays on the page until then.
  const execute = async (id) => {
    const block = operation(id);
    if (!(await block.getAttribute("class")).includes("is-open")) {
      await block.locator(".opblock-summary-control").click();
    }
    const isCall = (answer) => new URL(answer.url()).pathname.startsWith("/api/");
    const answered = page.waitForResponse(isCall);
    await block.getByRole("button", { name: "Execute" }).click();
    const status = String((await answered).status());
    const shown = page.locator(".response-col_status", { hasText: status });
    const row = block.locator(".live-responses-table tbody tr.response", { has: shown }).first();
    await row.waitFor();
    const body = await row.locator(".response-col_description pre").first().innerText();
    return { status, body: JSON.parse(body) };
  };

  await page.goto(`${base}/docs`);
  await operation("signUp").waitFor();
  await picture("1-docs");

  const tags = await page.locator(".opblock-tag").evaluateAll((all) => all.map((tag) => tag.dataset.tag));
  const ids = await page.locator(".opblock").evaluateAll((all) => all.map((block) => block.id.split("-").pop()));
  if (tags[0] !== "Customers" || tags.at(-1) !== "Administration") throw new Error(`tags: ${tags}`);
  if (ids[0] !== "signUp" || ids[1] !== "logIn") throw new Error(`operations: ${ids}`);

  const before = await execute("getCurrentLicense");
  if (before.status !== "401") throw new Error(`without a token: ${before.status}`);

  const made = await execute("signUp");
  console.log("signed up:", made.status);
  await picture("2-signed-up");

  const errors = operation("signUp").locator(".responses-table").last().locator("tr.response");
  for (const [status, codes] of [["409", ["email_taken"]],
    ["422", ["invalid_email", "invalid_name", "weak_password"]]]) {
    const row = errors.and(page.locator(`[data-code="${status}"]`));
    for (const code of codes) {
      await row.locator(".examples-select select, .examples-select-element").first().selectOption(code);
      await row.getByText(`"${code}"`).first().waitFor();
    }
    if (status === "422") console.log(`own example of each error: ${codes.length} of ${status}`);
  }
  await picture("3-errors");

  await page.getByRole("button", { name: "Authorize" }).first().click();
  // The dialog may not be there yet, and `allInnerTexts` does not wait.
  await page.locator(".modal-ux form").last().waitFor();
  const schemes = await page.locator(".modal-ux h4 code").allInnerTexts();
  if (schemes.join() !== "session,license,admin_key") throw new Error(`schemes: ${schemes}`);
  const session = page.locator(".modal-ux form", { hasText: "session" });
  await session.locator("input").fill(made.body.access_token);
  await session.getByRole("button", { name: "Apply credentials" }).click();
  await session.getByText("Logout").waitFor();
  await session.getByRole("button", { name: "Close" }).click();
  console.log("authorized");

  const license = await execute("getCurrentLicense");
  console.log("current license:", license.status, license.body.plan);
  await picture("4-license");
  if (license.body.token !== made.body.license.token) throw new Error("another license is shown");

  // The 401 is the one that was asked for.
  const unexpected = complaints.filter((complaint) => !complaint.includes("401"));
  if (unexpected.length > 0) throw new Error(`the page complains: ${unexpected.join("\n")}`);
} finally {
  await browser.close();
}
