//! Licenses, and the keys that verify them.

use poem_openapi::OpenApi;

mod keys;
pub(super) mod licenses;
mod recover;

/// Returns the operations of this area.
pub(super) fn apis() -> impl OpenApi + 'static {
    (licenses::LicensesApi, recover::RecoverApi, keys::KeysApi)
}
