//! The kinds of metrics that the library lacks: a gauge that can be absent, and a metric with one
//! series for each value of a label.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

pub use prometheus_client::metrics::counter::Counter;

/// A gauge. It is absent until its value was counted, and while the value cannot be counted: an old
/// value would hide from an alarm that the database is down.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<Mutex<Option<i64>>>);

impl Gauge {
    /// Sets the value. `None` makes the gauge absent.
    pub fn set(&self, value: Option<i64>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }

    /// Returns the value, or `None` while the gauge is absent.
    #[must_use]
    pub fn get(&self) -> Option<i64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TypedMetric for Gauge {
    const TYPE: MetricType = MetricType::Gauge;
}

impl EncodeMetric for Gauge {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        self.get().map_or(Ok(()), |value| encoder.encode_gauge(&value))
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }

    fn is_empty(&self) -> bool {
        self.get().is_none()
    }
}

/// A label with a fixed set of values. Declare it with [`labels!`].
pub trait Label: Copy + Send + Sync + 'static {
    /// The name of the label.
    const NAME: &'static str;

    /// All values, in order.
    const VALUES: &'static [Self];

    /// Returns the index of this value in [`Label::VALUES`].
    fn index(self) -> usize;

    /// Returns the text of this value.
    #[must_use]
    fn text(self) -> &'static str;
}

/// Declares an enum that is a [`Label`]: a [`text_enum!`](crate::domain::text_enum) with the name
/// of the label.
macro_rules! labels {
    ($(#[$about:meta])* pub enum $name:ident as $label:literal { $($values:tt)+ }) => {
        $crate::domain::text_enum::text_enum! {
            $(#[$about])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
            pub enum $name { $($values)+ }
        }

        impl $crate::metrics::series::Label for $name {
            const NAME: &'static str = $label;
            const VALUES: &'static [Self] = &Self::ALL;

            fn index(self) -> usize {
                self as usize
            }

            fn text(self) -> &'static str {
                self.as_str()
            }
        }
    };
}
pub(crate) use labels;

/// A metric with one series for each value of a label. All series exist from the start, so that an
/// alarm on an increase sees the first one.
#[derive(Clone, Debug)]
pub struct Series<L, M> {
    metrics: Arc<[M]>,
    label: PhantomData<fn(L)>,
}

impl<L: Label, M: Default> Default for Series<L, M> {
    fn default() -> Self {
        let metrics = L::VALUES.iter().map(|_| M::default()).collect();
        Self { metrics, label: PhantomData }
    }
}

impl<L: Label, M> Series<L, M> {
    /// Returns the metric of one value.
    #[must_use]
    pub fn of(&self, value: L) -> &M {
        &self.metrics[value.index()]
    }
}

impl<L: Label + fmt::Debug, M: EncodeMetric + TypedMetric> EncodeMetric for Series<L, M> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (value, metric) in L::VALUES.iter().zip(self.metrics.iter()) {
            if !metric.is_empty() {
                metric.encode(encoder.encode_family(&[(L::NAME, value.text())])?)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }

    fn is_empty(&self) -> bool {
        self.metrics.iter().all(EncodeMetric::is_empty)
    }
}
