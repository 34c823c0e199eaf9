//! An answer of Stripe that a test holds: Stripe gives it at the call, and it arrives when the test
//! says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use licentia::app::{App, Surroundings};
use licentia::clock::Clock;
use licentia::stripe::{Call, Double, Stripe};
use licentia_sandbox::SECRET_KEY;
use serde_json::Value;
use tokio::sync::watch;

use super::shop::{SandboxClock, Shop};

/// The answer to the first `GET` of a path.
pub struct HeldAnswer {
    given: watch::Receiver<bool>,
    release: watch::Sender<bool>,
}

impl HeldAnswer {
    /// Waits until Stripe has given the answer.
    pub async fn given(&mut self) {
        self.given.wait_for(|given| *given).await.unwrap();
    }

    /// Lets the answer arrive.
    pub fn release(self) {
        self.release.send(true).unwrap();
    }
}

impl Shop {
    /// Returns another server, without a worker, whose first `GET` of `path` gets a held answer.
    pub async fn server_with_held_answer(&self, path: &'static str) -> (App, HeldAnswer) {
        let (give, given) = watch::channel(false);
        let (release, released) = watch::channel(false);
        let (base, is_first) = (self.sandbox.url().to_owned(), AtomicBool::new(true));
        let double: Double = Box::new(move |call| {
            let is_of_path = call.method == "GET" && call.path == path;
            let is_held = is_of_path && is_first.swap(false, Ordering::SeqCst);
            let (base, give, mut released) = (base.clone(), give.clone(), released.clone());
            Box::pin(async move {
                let answer = forward(base, call).await;
                if is_held {
                    give.send_replace(true);
                    released.wait_for(|released| *released).await.unwrap();
                }
                Some(answer)
            })
        });
        let clock: Arc<dyn Clock> = Arc::new(SandboxClock(self.sandbox.clock()));
        let own_clock = clock.clone();
        let change = |real: Surroundings| Surroundings {
            stripe: real.stripe.map(|stripe| Stripe::double(stripe.config(), double, own_clock)),
            ..real
        };
        let app = self.parts_with(&self.app.config, clock, change).await;
        (app, HeldAnswer { given, release })
    }
}

/// Forwards a call to Stripe's double.
pub async fn forward(base: String, call: Call) -> (u16, Value) {
    let client = reqwest::Client::new();
    let request = match call.method {
        "GET" => client.get(format!("{base}{}?{}", call.path, call.form)),
        "DELETE" => client.delete(format!("{base}{}", call.path)).body(call.form),
        _ => client.post(format!("{base}{}", call.path)).body(call.form),
    };
    let response = request.bearer_auth(SECRET_KEY).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}
