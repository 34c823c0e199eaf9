//! The parameters of a sale that checkout sessions, payment links, quotes and subscriptions share:
//! line items, trial, payment and discounts.

use super::collected::automatic_tax;
use super::params::Params;
use super::resource::require_param;
use crate::api_error::ApiError;
use crate::billing::promotion::{self, Sale};
use crate::billing::{metered, price};
use crate::objects::{Kind, text};
use crate::world::{
    Adjustable, InvoiceTerms, MissingMethod, Offer, OfferLine, PaymentTerms, Redeemed, World,
};

/// The greatest quantity that a buyer may choose, unless the vendor sets another.
const DEFAULT_MAXIMUM: i64 = 99;

/// The greatest quantity that a vendor may let a buyer choose.
const MAX_QUANTITY: i64 = 999_999;

/// The longest trial, in days
/// (<https://docs.stripe.com/api/subscriptions/create#create_subscription-trial_period_days>).
const MAX_TRIAL_DAYS: i64 = 730;

/// The kind of payment that a sale begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A subscription.
    Subscription,
    /// A one-time payment.
    Payment,
}

impl Mode {
    /// The parameters that only the other mode has.
    const fn foreign(self) -> &'static [&'static str] {
        match self {
            Self::Subscription => &["payment_intent_data", "customer_creation"],
            Self::Payment => &["subscription_data"],
        }
    }

    /// Stripe's name of it.
    const fn name(self) -> &'static str {
        match self {
            Self::Subscription => "subscription",
            Self::Payment => "payment",
        }
    }
}

/// Takes the line items, discounts, and either the trial or the terms of the payment, of a checkout
/// session, payment link or quote. Without a mode, the prices decide.
pub fn terms(world: &World, mode: Option<Mode>, params: &mut Params) -> Result<Offer, ApiError> {
    let lines = lines(world, params)?;
    let mode = mode.unwrap_or_else(|| mode_of(world, &lines));
    check_mode(world, mode, &lines)?;
    if let Some(name) = mode.foreign().iter().find(|name| params.has(name)) {
        let message = format!("You can not pass `{name}` in `{}` mode.", mode.name());
        return Err(ApiError::invalid(message, name));
    }
    let discounts = discounts(world, params)?;
    let mut offer = Offer { lines, discounts, ..Offer::default() };
    offer.settings.automatic_tax = automatic_tax(world, &offer.lines, params)?;
    if mode == Mode::Payment {
        offer.payment = Some(payment(params)?);
        return Ok(offer);
    }
    if invoice(params)?.is_some() {
        let message = "You can only enable invoice creation when `mode` is set to `payment`. \
                       Invoices are created automatically when `mode` is set to `subscription`.";
        return Err(ApiError::invalid(message, "invoice_creation"));
    }
    let mut data = params.group("subscription_data");
    offer.metadata = data.metadata("metadata")?.unwrap_or_default();
    offer.trial_days = trial_days(&mut data)?.unwrap_or(0);
    offer.settings.missing_method = missing_method(&mut data)?.unwrap_or_default();
    data.ignore(&["description", "proration_behavior", "billing_mode"]);
    data.finish()?;
    Ok(offer)
}

/// Takes the days of a trial.
pub fn trial_days(params: &mut Params) -> Result<Option<i64>, ApiError> {
    let days = params.integer("trial_period_days")?;
    if days.is_none_or(|days| (1..=MAX_TRIAL_DAYS).contains(&days)) {
        return Ok(days);
    }
    let message = format!("Invalid integer: a trial has from 1 to {MAX_TRIAL_DAYS} days.");
    Err(ApiError::invalid(message, &params.full_name("trial_period_days")))
}

/// Takes what happens when a trial ends without a payment method.
pub fn missing_method(params: &mut Params) -> Result<Option<MissingMethod>, ApiError> {
    let mut settings = params.group("trial_settings");
    let mut behavior = settings.group("end_behavior");
    let name = behavior.text("missing_payment_method")?;
    let at = behavior.full_name("missing_payment_method");
    behavior.finish()?;
    settings.finish()?;
    let Some(name) = name else { return Ok(None) };
    let Some(named) = MissingMethod::named(&name) else {
        let message = format!("Invalid {at}: must be one of cancel, create_invoice, or pause");
        return Err(ApiError::invalid(message, &at));
    };
    Ok(Some(named))
}

fn lines(world: &World, params: &mut Params) -> Result<Vec<OfferLine>, ApiError> {
    let mut lines = Vec::new();
    for mut line in params.groups("line_items") {
        let price = line.required("price")?;
        let at = line.full_name("price");
        require_param(world, Kind::Price, &price, &at)?;
        require_active(world, &price, &at)?;
        let quantity = quantity(world, &price, &mut line)?;
        let adjustable = adjustable(&mut line, quantity)?;
        line.finish()?;
        lines.push(OfferLine { price, quantity, adjustable });
    }
    if lines.is_empty() {
        return Err(ApiError::missing("line_items"));
    }
    Ok(lines)
}

/// Refuses to sell an archived price, and one of an archived product
/// (<https://docs.stripe.com/products-prices/manage-prices#archive-product>).
fn require_active(world: &World, price: &str, at: &str) -> Result<(), ApiError> {
    let object = world.get(Kind::Price, price);
    if object["active"] == false {
        let message = "The price specified is inactive. This field only accepts active prices.";
        return Err(ApiError::invalid(message, at));
    }
    if world.get(Kind::Product, text(object, "product"))["active"] == false {
        let message = format!(
            "The price ID `{price}` is not available to be purchased because its product is not \
             active."
        );
        return Err(ApiError::invalid(message, at));
    }
    Ok(())
}

/// Takes the quantity of a line. A metered price has none; here it is zero
/// (<https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-line_items-quantity>).
pub fn quantity(world: &World, price: &str, line: &mut Params) -> Result<i64, ApiError> {
    let given = line.integer("quantity")?;
    quantity_of(world, price, given, &line.full_name("quantity"))
}

/// Returns the quantity of a line for which `given` was given, as the parameter `at`.
pub fn quantity_of(
    world: &World,
    price: &str,
    given: Option<i64>,
    at: &str,
) -> Result<i64, ApiError> {
    let is_metered = metered::is_metered(world.get(Kind::Price, price));
    match given {
        Some(_) if is_metered => {
            Err(ApiError::invalid("You cannot specify a quantity for a metered price.", at))
        }
        Some(given) => Ok(given),
        None => Ok(i64::from(!is_metered)),
    }
}

/// Returns the mode of a sale by its prices: a payment if none of them recurs.
fn mode_of(world: &World, lines: &[OfferLine]) -> Mode {
    let is_once = lines.iter().all(|line| is_once(world, line));
    if is_once { Mode::Payment } else { Mode::Subscription }
}

fn is_once(world: &World, line: &OfferLine) -> bool {
    world.get(Kind::Price, &line.price)["recurring"].is_null()
}

/// Checks that all prices fit the mode of the sale.
fn check_mode(world: &World, mode: Mode, lines: &[OfferLine]) -> Result<(), ApiError> {
    let wrong = lines.iter().position(|line| is_once(world, line) != (mode == Mode::Payment));
    let Some(place) = wrong else { return Ok(()) };
    let message = match mode {
        Mode::Subscription => {
            "You must provide at least one recurring price in `subscription` mode."
        }
        Mode::Payment => {
            "You specified `payment` mode but passed a recurring price. Either switch to \
             `subscription` mode or use only one-time prices."
        }
    };
    Err(ApiError::invalid(message, &format!("line_items[{place}][price]")))
}

/// Takes the quantities that the buyer may choose on the page
/// (<https://docs.stripe.com/payments/checkout/adjustable-quantity>).
fn adjustable(line: &mut Params, quantity: i64) -> Result<Option<Adjustable>, ApiError> {
    let mut group = line.group("adjustable_quantity");
    let enabled = group.boolean("enabled")?.unwrap_or(false);
    let minimum = group.integer("minimum")?.unwrap_or(0);
    let maximum = group.integer("maximum")?.unwrap_or(DEFAULT_MAXIMUM);
    let at = group.full_name("maximum");
    group.finish()?;
    let fits = maximum <= MAX_QUANTITY && (minimum..=maximum).contains(&quantity);
    if enabled && !fits {
        let message = format!(
            "The quantity ({quantity}) must be from {minimum} to {maximum}, and the maximum at \
             most {MAX_QUANTITY}."
        );
        return Err(ApiError::invalid(message, &at));
    }
    Ok(enabled.then_some(Adjustable { minimum, maximum }))
}

/// Checks that a sale's prices are sold in its currency.
fn require_currency(world: &World, lines: &[OfferLine], currency: &str) -> Result<(), ApiError> {
    let other = lines.iter().position(|line| !price::is_sold_in(world, &line.price, currency));
    let Some(place) = other else { return Ok(()) };
    let own = text(world.get(Kind::Price, &lines[place].price), "currency");
    let message = format!(
        "The price specified only supports `{own}`. This doesn't match the expected currency: \
         `{currency}`."
    );
    Err(ApiError::invalid(message, &format!("line_items[{place}][price]")))
}

/// Takes the currency of a sale. Subscriptions of one customer must have the same one.
pub fn currency(
    world: &World,
    mode: Mode,
    customer: Option<&str>,
    lines: &[OfferLine],
    params: &mut Params,
) -> Result<Option<String>, ApiError> {
    let customer = customer.filter(|_| mode == Mode::Subscription);
    let chosen = params.text("currency")?.filter(|currency| !currency.is_empty());
    let currency = match (chosen, customer) {
        (Some(chosen), _) => Some(chosen),
        (None, Some(customer)) => price::customers_currency(world, customer, lines),
        (None, None) => None,
    };
    let own = lines.first().map(|line| text(world.get(Kind::Price, &line.price), "currency"));
    let wanted = currency.as_deref().or(own).unwrap_or_default();
    require_currency(world, lines, wanted)?;
    match customer.and_then(|customer| price::pinned_currency(world, customer)) {
        Some(pinned) if pinned != wanted => Err(ApiError::invalid(
            format!(
                "You cannot combine currencies on a single customer. This customer has an active \
                 subscription, subscription schedule, discount, quote, invoice item or active \
                 subscription mode checkout session with currency {pinned}."
            ),
            "",
        )),
        _ => Ok(currency),
    }
}

/// Checks that the discounts of a sale can be redeemed.
pub fn require_redeemable(
    world: &World,
    discounts: &[Redeemed],
    sale: &Sale<'_>,
) -> Result<(), ApiError> {
    for (place, redeemed) in discounts.iter().enumerate() {
        let Some(problem) = promotion::problem(world, redeemed, sale) else { continue };
        let by = if redeemed.promotion_code.is_some() { "promotion_code" } else { "coupon" };
        let param = format!("discounts[{place}][{by}]");
        let is_valid = world.get(Kind::Coupon, &redeemed.coupon)["valid"] == true;
        return Err(if is_valid {
            ApiError::invalid(problem, &param)
        } else {
            ApiError::coded("coupon_expired", problem, &param)
        });
    }
    Ok(())
}

/// Checks that a price can be billed by a subscription.
pub fn require_recurring(world: &World, price: &str, param: &str) -> Result<(), ApiError> {
    require_param(world, Kind::Price, price, param)?;
    if world.get(Kind::Price, price)["recurring"].is_object() {
        return Ok(());
    }
    let message = "The price specified is set to `type=one_time` but this field only accepts \
                   prices with `type=recurring`.";
    Err(ApiError::invalid(message, param))
}

/// Takes the terms of a one-time payment.
fn payment(params: &mut Params) -> Result<PaymentTerms, ApiError> {
    let mut data = params.group("payment_intent_data");
    let description = data.text("description")?;
    let metadata = data.metadata("metadata")?.unwrap_or_default();
    data.ignore(&["receipt_email", "setup_future_usage", "statement_descriptor"]);
    data.finish()?;
    Ok(PaymentTerms { description, metadata, invoice: invoice(params)? })
}

/// Takes the invoice to create after a one-time payment; none unless it is enabled
/// (<https://docs.stripe.com/payments/checkout/receipts#paid-invoices>).
fn invoice(params: &mut Params) -> Result<Option<InvoiceTerms>, ApiError> {
    let mut creation = params.group("invoice_creation");
    let enabled = creation.boolean("enabled")?.unwrap_or(false);
    let mut data = creation.group("invoice_data");
    let description = data.text("description")?;
    let footer = data.text("footer")?;
    let metadata = data.metadata("metadata")?.unwrap_or_default();
    data.ignore(&["account_tax_ids", "custom_fields", "issuer", "rendering_options"]);
    data.finish()?;
    creation.finish()?;
    Ok(enabled.then_some(InvoiceTerms { description, footer, metadata }))
}

/// Takes `discounts`: coupons and promotion codes.
pub fn discounts(world: &World, params: &mut Params) -> Result<Vec<Redeemed>, ApiError> {
    let mut discounts = Vec::new();
    for mut discount in params.groups("discounts") {
        discounts.push(discount_of(world, &mut discount)?);
        discount.finish()?;
    }
    Ok(discounts)
}

/// Takes a coupon or a promotion code.
pub fn discount_of(world: &World, discount: &mut Params) -> Result<Redeemed, ApiError> {
    let (coupon, code) = (discount.text("coupon")?, discount.text("promotion_code")?);
    let at = discount.full_name("coupon");
    let coupon = match (coupon, &code) {
        (Some(coupon), _) => coupon,
        (None, Some(code)) => {
            require_param(world, Kind::PromotionCode, code, "promotion_code")?;
            let code = world.get(Kind::PromotionCode, code);
            text(&code["promotion"], "coupon").to_owned()
        }
        (None, None) => return Err(ApiError::missing(&at)),
    };
    require_param(world, Kind::Coupon, &coupon, &at)?;
    Ok(Redeemed { coupon, promotion_code: code })
}
