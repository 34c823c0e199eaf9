//! How the domain's types stand in columns: texts as `TEXT`, times as `BIGINT`. A column that
//! does not parse is an error, never a wrong value.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Database, Decode, Encode, Type};

use super::customers::SyncStatus;
use crate::domain::admin_key::Scope;
use crate::domain::contact::{DisplayName, Email};
use crate::domain::ids::{
    AdminKeyId, AttemptId, AuditId, CustomerId, LicenseId, MailId, OrderId, SessionId, TaskId,
    UserId,
};
use crate::domain::invoice::OrderStatus;
use crate::domain::license::{RevocationReason, Source};
use crate::domain::message::Kind;
use crate::domain::stripe_ids::{
    CheckoutSessionId, InvoiceId, PaymentIntentId, StripeCustomerId, StripeSubscriptionId,
};
use crate::domain::subscription::Status;
use crate::domain::time::Timestamp;

macro_rules! column {
    ($($name:ident as $stored:ty: $store:expr, $read:expr;)*) => {$(
        impl<DB: Database> Type<DB> for $name
        where
            $stored: Type<DB>,
        {
            fn type_info() -> DB::TypeInfo {
                <$stored>::type_info()
            }

            fn compatible(found: &DB::TypeInfo) -> bool {
                <$stored>::compatible(found)
            }
        }

        impl<'q, DB: Database> Encode<'q, DB> for $name
        where
            $stored: Encode<'q, DB>,
        {
            fn encode_by_ref(&self, buffer: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
                let store: fn(&Self) -> $stored = $store;
                store(self).encode(buffer)
            }
        }

        impl<'r, DB: Database> Decode<'r, DB> for $name
        where
            $stored: Decode<'r, DB>,
        {
            fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
                let read: fn($stored) -> Result<Self, BoxDynError> = $read;
                read(<$stored>::decode(value)?)
            }
        }
    )*};
}

column! {
    CustomerId as String: |id| id.to_string(), |text| Ok(text.parse()?);
    UserId as String: |id| id.to_string(), |text| Ok(text.parse()?);
    LicenseId as String: |id| id.to_string(), |text| Ok(text.parse()?);
    SessionId as String: |id| id.to_string(), |text| Ok(text.parse()?);
    MailId as String: |id| id.to_string(), |text| Ok(text.parse()?);
    Kind as String: |kind| kind.to_string(), |text| Ok(text.parse()?);
    AdminKeyId as String: |id| id.to_string(), |text| Ok(text.parse()?);
    AuditId as String: |id| id.to_string(), |text| Ok(text.parse()?);
    OrderId as String: |id| id.to_string(), |text| Ok(text.parse()?);
    AttemptId as String: |id| id.to_string(), |text| Ok(text.parse()?);
    TaskId as String: |id| id.to_string(), |text| Ok(text.parse()?);
    StripeCustomerId as String: |id| id.to_string(), |text| Ok(text.parse()?);
    StripeSubscriptionId as String: |id| id.to_string(), |text| Ok(text.parse()?);
    CheckoutSessionId as String: |id| id.to_string(), |text| Ok(text.parse()?);
    InvoiceId as String: |id| id.to_string(), |text| Ok(text.parse()?);
    PaymentIntentId as String: |id| id.to_string(), |text| Ok(text.parse()?);
    OrderStatus as String: |status| status.to_string(), |text| Ok(text.parse()?);
    SyncStatus as String: |status| status.to_string(), |text| Ok(Self::from_name(&text));
    Status as String: |status| status.to_string(), |text| Ok(Self::from_name(&text));
    Scope as String: |scope| scope.to_string(), |text| Ok(text.parse()?);
    Email as String: |email| email.to_string(), |text| Ok(text.parse()?);
    DisplayName as String: |name| name.as_str().to_owned(), |text| Ok(text.parse()?);
    Source as String: |source| source.to_string(), |text| Ok(text.parse()?);
    RevocationReason as String: |reason| reason.to_string(), |text| Ok(text.parse()?);
    Timestamp as i64: |time| time.epoch_seconds(), |seconds| Ok(seconds.try_into()?);
}
