//! Sign-up, login and the account.

use poem_openapi::OpenApi;

mod addresses;
mod export;
mod me;
pub(super) mod pages;
mod passwords;
mod sessions;
mod signup;
pub(super) mod view;

/// Returns the operations of this area.
pub(super) fn apis() -> impl OpenApi + 'static {
    (
        signup::SignUpApi,
        sessions::SessionsApi,
        passwords::PasswordsApi,
        me::MeApi,
        addresses::AddressesApi,
        export::ExportApi,
    )
}
