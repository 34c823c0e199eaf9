//! Pauses a server at a fail point until the test continues it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use licentia::fail_point::{FailPoints, Place};

/// A pause of the first task that reaches a fail point, once it is armed and until it is ended. Its
/// test needs a runtime with several threads.
pub struct Pause {
    meeting: Arc<Meeting>,
    end: mpsc::Sender<()>,
}

struct Meeting {
    place: Place,
    armed: AtomicBool,
    begun: AtomicBool,
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Pause {
    pub fn at(place: &str) -> Self {
        let place = place.parse().unwrap();
        let (end, ended) = mpsc::channel();
        let (armed, begun) = (AtomicBool::new(false), AtomicBool::new(false));
        let meeting = Meeting { place, armed, begun, ended: Mutex::new(ended) };
        Self { meeting: Arc::new(meeting), end }
    }

    /// Returns fail points that pause a server at any of these places.
    pub fn any_of(pauses: &[&Self]) -> FailPoints {
        let meetings: Vec<_> = pauses.iter().map(|pause| pause.meeting.clone()).collect();
        FailPoints::calling(move |here| meetings.iter().for_each(|meeting| meeting.pass(here)))
    }

    pub fn arm(&self) {
        self.meeting.armed.store(true, Ordering::SeqCst);
    }

    pub fn has_begun(&self) -> bool {
        self.meeting.begun.load(Ordering::SeqCst)
    }

    pub fn end(self) {
        self.end.send(()).unwrap();
    }
}

impl Meeting {
    fn pass(&self, here: Place) {
        let counts = here == self.place && self.armed.load(Ordering::SeqCst);
        if counts && !self.begun.swap(true, Ordering::SeqCst) {
            // If the test has failed meanwhile, the server continues as well.
            tokio::task::block_in_place(|| self.ended.lock().unwrap().recv().unwrap_or(()));
        }
    }
}
