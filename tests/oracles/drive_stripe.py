"""Drives the sandbox with Stripe's own package: drive_stripe.py URL SECRET_KEY."""

import queue
import sys
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import stripe

url, stripe.api_key = sys.argv[1:3]
stripe.api_base = url
arrived = queue.Queue()


class Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        arrived.put((body, self.headers["Stripe-Signature"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Hook)
threading.Thread(target=server.serve_forever, daemon=True).start()


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def submit(path: str, **form: str) -> int:
    data = urllib.parse.urlencode(form).encode()
    try:
        return urllib.request.build_opener(Stay).open(url + path, data).status
    except urllib.error.HTTPError as error:
        return error.code


def opened(page: str) -> str:
    """Returns the path to which a page leads."""
    try:
        urllib.request.build_opener(Stay).open(page)
    except urllib.error.HTTPError as error:
        return urllib.parse.urlparse(error.headers["Location"]).path
    sys.exit(f"{page} leads nowhere")


endpoint = stripe.WebhookEndpoint.create(
    url=f"http://127.0.0.1:{server.server_port}/",
    enabled_events=["checkout.session.completed"],
    api_version="2026-09-30.endive",
)
product = stripe.Product.create(name="Professional")
price = stripe.Price.create(
    product=product.id, currency="usd", unit_amount=4900, recurring={"interval": "month"}
)
customers = [
    stripe.Customer.create(email=f"c{n}@example.com", metadata={"customer_id": f"cust_{n}"})
    for n in range(12)
]
customer = customers[7]
assert stripe.Customer.retrieve(customer.id).email == "c7@example.com"
assert stripe.Customer.modify(customer.id, name="Ada").metadata["customer_id"] == "cust_7"
found = stripe.Customer.search(query="metadata['customer_id']:'cust_7'")
assert [c.id for c in found.data] == [customer.id]
listed = [c.id for c in stripe.Customer.list(limit=5).auto_paging_iter()]
assert listed == [c.id for c in reversed(customers)], listed
print("customers: created, changed, found, listed")

wanted = dict(
    mode="subscription",
    customer=customer.id,
    line_items=[{"price": price.id, "quantity": 1}],
    success_url="http://localhost/ok?session={CHECKOUT_SESSION_ID}",
    cancel_url="http://localhost/no",
    subscription_data={"metadata": {"customer_id": "cust_7"}},
)
session = stripe.checkout.Session.create(**wanted, idempotency_key="checkout")
again = stripe.checkout.Session.create(**wanted, idempotency_key="checkout")
assert again.id == session.id and again.last_response.headers["Idempotent-Replayed"] == "true"
try:
    stripe.checkout.Session.create(**wanted | {"locale": "de"}, idempotency_key="checkout")
    sys.exit("one key was taken for two calls")
except stripe.IdempotencyError:
    pass
assert submit(f"/checkout/{session.id}", card="4000000000000002") == 200
assert stripe.checkout.Session.retrieve(session.id).status == "open"
assert submit(f"/checkout/{session.id}", card="4242424242424242") == 303
session = stripe.checkout.Session.retrieve(session.id, expand=["subscription", "line_items"])
assert (session.status, session.payment_status) == ("complete", "paid")
assert session.line_items.data[0].price.id == price.id
print("checkout: declined, then paid, under one idempotency key")

subscription = session.subscription
assert subscription.status == "active" and subscription.metadata["customer_id"] == "cust_7"
item = subscription["items"].data[0]
assert item.current_period_end > item.current_period_start
ending = stripe.Subscription.modify(subscription.id, cancel_at_period_end=True)
assert ending.cancel_at == item.current_period_end
stripe.Subscription.modify(subscription.id, cancel_at_period_end=False)
portal = stripe.billing_portal.Session.create(customer=customer.id, return_url="http://localhost/")
assert urllib.request.urlopen(portal.url).status == 200
print("subscription: active, ending, going on, in the portal")

invoice = stripe.Invoice.list(subscription=subscription.id, expand=["data.payments"]).data[0]
intent = invoice.payments.data[0].payment.payment_intent
assert invoice.status == "paid" and invoice.amount_paid == 4900
refund = stripe.Refund.create(payment_intent=intent, amount=900)
assert refund.status == "succeeded"
assert stripe.Charge.list(payment_intent=intent).data[0].amount_refunded == 900
assert stripe.Subscription.cancel(subscription.id).status == "canceled"
print("invoice: paid, refunded in part; subscription: canceled")

once = stripe.Price.create(
    product=product.id,
    currency="usd",
    unit_amount=19900,
    currency_options={"eur": {"unit_amount": 17900}},
)
once = stripe.Price.retrieve(once.id, expand=["currency_options"])
assert once.type == "one_time" and once.recurring is None
assert once.currency_options["eur"].unit_amount == 17900
coupon = stripe.Coupon.create(percent_off=10, duration="once")
code = stripe.PromotionCode.create(
    promotion={"type": "coupon", "coupon": coupon.id}, code="FALL", max_redemptions=1
)
assert stripe.PromotionCode.list(code="fall", limit=1).data[0].id == code.id
sale = stripe.checkout.Session.create(
    mode="payment",
    customer=customer.id,
    currency="eur",
    line_items=[
        {
            "price": once.id,
            "quantity": 2,
            "adjustable_quantity": {"enabled": True, "minimum": 1, "maximum": 5},
        }
    ],
    discounts=[{"promotion_code": code.id}],
    invoice_creation={"enabled": True, "invoice_data": {"metadata": {"order": "ord_1"}}},
    success_url="http://localhost/ok",
)
assert submit(f"/checkout/{sale.id}/quantity", price=once.id, quantity="3") == 303
assert submit(f"/checkout/{sale.id}", card="4242424242424242") == 303
paid = stripe.checkout.Session.list(
    customer=customer.id, status="complete", expand=["data.line_items"]
).data[0]
assert (paid.id, paid.payment_status, paid.mode) == (sale.id, "paid", "payment")
assert paid.line_items.data[0].quantity == 3 and paid.amount_total == 48330
assert stripe.checkout.Session.list(payment_intent=paid.payment_intent).data[0].id == sale.id
while (invoice := stripe.checkout.Session.retrieve(sale.id).invoice) is None:
    time.sleep(0.1)
invoice = stripe.Invoice.retrieve(invoice, expand=["payments"])
assert (invoice.status, invoice.billing_reason, invoice.parent) == ("paid", "manual", None)
assert (invoice.amount_paid, invoice.currency) == (48330, "eur")
assert invoice.payments.data[0].payment.payment_intent == paid.payment_intent
assert invoice.metadata["order"] == "ord_1" and invoice.lines.data[0].quantity == 3
assert not stripe.PromotionCode.retrieve(code.id).active
print("one-time payment: discounted, in euros, then its invoice")

team = stripe.checkout.Session.create(
    mode="subscription",
    line_items=[{"price": price.id, "quantity": 2}],
    success_url="http://localhost/ok",
)
assert submit(f"/checkout/{team.id}", card="4242424242424242") == 303
team = stripe.checkout.Session.retrieve(team.id, expand=["subscription"]).subscription
seats = {
    "items": [{"id": team["items"].data[0].id, "quantity": 5}],
    "proration_behavior": "always_invoice",
    "proration_date": int(time.time()),
}
preview = stripe.Invoice.create_preview(subscription=team.id, subscription_details=seats)
lines = preview.lines.data
assert [line.quantity for line in lines] == [2, 5] and lines[0].amount < 0
assert all(line.parent.subscription_item_details.proration for line in lines)
changed = stripe.Subscription.modify(
    team.id,
    **seats,
    payment_behavior="pending_if_incomplete",
    expand=["latest_invoice.payments.data.payment.payment_intent"],
)
assert changed.pending_update is None and changed["items"].data[0].quantity == 5
invoice = changed.latest_invoice
assert invoice.amount_paid == preview.amount_due == sum(line.amount for line in lines)
assert invoice.payments.data[0].payment.payment_intent.status == "succeeded"
print("seats: previewed, then changed and paid")

assert stripe.tax.Settings.retrieve().status == "active"
company = stripe.Customer.create(
    business_name="Engines",
    address={"country": "DE"},
    tax_id_data=[{"type": "eu_vat", "value": "DE123456789"}],
)
assert company.name == "Engines"
assert stripe.Customer.list_tax_ids(company.id).data[0].country == "DE"
net = stripe.Price.create(
    product=product.id,
    currency="usd",
    unit_amount=1000,
    tax_behavior="exclusive",
    recurring={"interval": "month"},
)
trial = stripe.Subscription.create(
    customer=company.id,
    items=[{"price": net.id}],
    automatic_tax={"enabled": True},
    trial_period_days=14,
    trial_settings={"end_behavior": {"missing_payment_method": "pause"}},
)
assert trial.status == "trialing"
assert stripe.Subscription.modify(trial.id, trial_end="now").status == "paused"
resumed = stripe.Subscription.resume(trial.id, expand=["latest_invoice"])
invoice = resumed.latest_invoice
assert (invoice.total, invoice.total_excluding_tax) == (1200, 1000)
assert invoice.customer_tax_ids[0].value == "DE123456789"
print("trial: paused without a card; its invoice: taxed, with the tax id")

extra = stripe.Price.create(
    product=product.id, currency="usd", unit_amount=300, recurring={"interval": "month"}
)
half = stripe.Coupon.create(percent_off=50, duration="forever")
stripe.PromotionCode.create(promotion={"type": "coupon", "coupon": half.id}, code="SPRING")
link = stripe.PaymentLink.create(
    line_items=[{"price": price.id, "quantity": 1}, {"price": extra.id, "quantity": 2}],
    allow_promotion_codes=True,
)
assert stripe.PaymentLink.list(active=True).data[0].id == link.id


def buy(code: str | None, card: str) -> stripe.checkout.Session:
    path = opened(link.url)
    if code is not None:
        assert submit(f"{path}/code", code=code) == 303
    assert submit(path, email="grace@example.com", card=card) == 303
    return stripe.checkout.Session.retrieve(path.split("/")[-1], expand=["subscription"])


sold = buy("spring", "4242424242424242")
assert (sold.payment_link, sold.payment_status, sold.amount_total) == (link.id, "paid", 2750)
two = sold.subscription
assert [item.quantity for item in two["items"].data] == [1, 2]
print("payment link: opened, discounted, paid for two items")

others = [buy(None, card) for card in ("4242424242424242", "5555555555554444")]
customers = [sold.customer] + [other.customer for other in others]
methods = [stripe.PaymentMethod.list(customer=one).data[0] for one in customers]
one, same, other = [method.card.fingerprint for method in methods]
assert one == same and one != other
print("cards: the fingerprint is that of the number")

portal = stripe.billing_portal.Session.create(customer=two.customer)
path = urllib.parse.urlparse(portal.url).path
assert submit(f"{path}/card", card="4000000000000341") == 303
grown = stripe.Subscription.modify(
    two.id,
    items=[{"id": item.id, "quantity": 3} for item in two["items"].data],
    discounts=[{"coupon": coupon.id}],
    proration_behavior="always_invoice",
    payment_behavior="pending_if_incomplete",
    expand=["latest_invoice"],
)
assert [item.quantity for item in grown["items"].data] == [1, 2]
assert [item.quantity for item in grown.pending_update.subscription_items] == [3, 3]
invoice = grown.latest_invoice
assert invoice.status == "open" and invoice.hosted_invoice_url.startswith(url)
path = urllib.parse.urlparse(invoice.hosted_invoice_url).path
assert submit(path, card="4000000000000002") == 200
assert submit(path, card="4242424242424242") == 303
grown = stripe.Subscription.retrieve(two.id, expand=["discounts"])
assert grown.pending_update is None
assert [item.quantity for item in grown["items"].data] == [3, 3]
assert [discount.source.coupon for discount in grown.discounts] == [coupon.id]
print("change of two items with a discount: declined, then paid on the page of its invoice")

body, signature = arrived.get(timeout=30)
event = stripe.Webhook.construct_event(body, signature, endpoint.secret)
assert event.type == "checkout.session.completed" and event.data.object.id == session.id
try:
    stripe.Webhook.construct_event(body.replace(b"paid", b"void"), signature, endpoint.secret)
    sys.exit("an altered webhook was accepted")
except stripe.SignatureVerificationError:
    pass
types = {event.type for event in stripe.Event.list(limit=100).auto_paging_iter()}
assert {"customer.subscription.deleted", "charge.refunded", "invoice.paid"} <= types, types
print("webhook: accepted; altered: refused; events: listed")

for attempt, error, code in [
    (lambda: stripe.Customer.retrieve("cus_no"), stripe.InvalidRequestError, "resource_missing"),
    (lambda: stripe.Customer.create(emial="x"), stripe.InvalidRequestError, "parameter_unknown"),
    (lambda: stripe.Customer.list(api_key="sk_test_no"), stripe.AuthenticationError, None),
]:
    try:
        attempt()
        sys.exit("accepted what must be refused")
    except error as refused:
        assert refused.code == code and refused.request_id, refused
print("errors: as Stripe's")
