//! The id of the request that is being handled. It is task-local, so that the audit log has it
//! without a parameter in every flow. Work that [`crate::tasks`] starts for a request keeps its id.

tokio::task_local! {
    static CURRENT: Option<String>;
}

/// Runs work under the id of a request; `None` is work without a request.
pub fn scope<F: Future>(id: Option<String>, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(id, work)
}

/// Returns the id of the current request. Returns `None` on the command line and in background
/// work.
#[must_use]
pub fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok().flatten()
}
