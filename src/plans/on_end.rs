//! Reads what remains of a plan's licenses at their end: `on_end`.

use licentia_verify::OnEnd;

use super::LIMITS;
use super::plan::features;
use crate::domain::sale::plan::{EndMode, Slug};
use crate::settings::Section;

/// Reads `on_end` of a plan. Without it, nothing remains.
pub(super) fn on_end(plan: &mut Section) -> OnEnd {
    let is_set = plan.is_set("on_end");
    let mut section = plan.section("on_end");
    let mode: Option<EndMode> = section.parsed("mode");
    if is_set && !plan.is_wrong("on_end") {
        section.require("mode", mode, "\"limited\"");
    }
    if let Some(mode @ (EndMode::Stop | EndMode::Warn)) = mode {
        let remains = if mode == EndMode::Warn { "everything" } else { "nothing" };
        for key in ["features", "limits"].into_iter().filter(|key| section.is_set(key)) {
            let problem = format_args!(
                "with the mode \"{mode}\", {remains} remains; remove it, or use \"limited\""
            );
            section.problem(key, problem);
        }
    }
    let features = features(&mut section).iter().map(Slug::to_string).collect();
    let limits = section.numbers::<Slug>("limits", LIMITS).into_iter();
    let limits = limits.map(|(name, limit)| (name.to_string(), limit)).collect();
    section.finish();
    match mode {
        Some(EndMode::Limited) => OnEnd::Limited { features, limits },
        Some(EndMode::Warn) => OnEnd::Warn,
        Some(EndMode::Stop) | None => OnEnd::Stop,
    }
}
