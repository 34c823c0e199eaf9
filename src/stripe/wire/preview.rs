//! Previews of invoices, and the page of an invoice that waits for its payment.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::List;
use super::invoice::{Period, Pricing, WireDiscountAmount, WireTax};
use crate::domain::sale::preview::{UpcomingInvoice, UpcomingLine};

#[derive(Debug, Deserialize)]
pub struct WirePreview {
    lines: Option<List<WirePreviewLine>>,
    total: Option<i64>,
    amount_due: Option<i64>,
    starting_balance: Option<i64>,
    total_taxes: Option<Vec<WireTax>>,
    total_discount_amounts: Option<Vec<WireDiscountAmount>>,
}

#[derive(Debug, Deserialize)]
struct WirePreviewLine {
    description: Option<String>,
    amount: Option<i64>,
    period: Option<Period>,
    pricing: Option<Pricing>,
}

impl WirePreview {
    pub fn into_domain(self) -> UpcomingInvoice {
        let taxes = self.total_taxes.into_iter().flatten();
        let discounts = self.total_discount_amounts.into_iter().flatten();
        let lines = self.lines.into_iter().flat_map(|lines| lines.data);
        UpcomingInvoice {
            lines: lines.map(WirePreviewLine::into_domain).collect(),
            discount: discounts.filter_map(|one| one.amount).fold(0, i64::saturating_add),
            added_tax: taxes.filter_map(|tax| tax.added()).fold(0, i64::saturating_add),
            total: self.total.unwrap_or(0),
            balance: self.starting_balance.unwrap_or(0),
            due: self.amount_due.unwrap_or(0),
        }
    }
}

impl WirePreviewLine {
    fn into_domain(self) -> UpcomingLine {
        let (period_start, period_end) =
            self.period.map(|period| period.bounds()).unwrap_or_default();
        UpcomingLine {
            text: self.description.unwrap_or_default(),
            amount: self.amount.unwrap_or(0),
            price: self.pricing.and_then(Pricing::price),
            period_start,
            period_end,
        }
    }
}

/// There is no `Debug`: whoever has the URL sees the invoice.
#[derive(Deserialize)]
pub struct WireInvoicePage {
    pub hosted_invoice_url: Option<String>,
}

/// A subscription schedule (<https://docs.stripe.com/api/subscription_schedules/object>).
#[derive(Debug, Deserialize)]
pub struct WireSchedule {
    end_behavior: Option<String>,
    phases: Option<Vec<IgnoredAny>>,
}

impl WireSchedule {
    /// Returns whether it looks like one that the portal creates for one later change: the present
    /// phase, the changed one, and then the subscription is on its own.
    pub fn is_of_portal(&self) -> bool {
        self.end_behavior.as_deref() == Some("release")
            && self.phases.as_ref().is_none_or(|phases| phases.len() <= 2)
    }
}
