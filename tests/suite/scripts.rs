//! The scripts for developers say what they do, and do nothing else, when they are asked.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::process::run;

/// The only programs that a script needs to answer. A script that does its work fails at once.
const PROGRAMS: [&str; 3] = ["bash", "sed", "dirname"];

fn scripts() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = fs::read_dir(root.join("scripts")).unwrap().map(|entry| entry.unwrap().path());
    let others = ["sdks/test", "sdks/compare", "verify/fuzz/run"].map(|name| root.join(name));
    files.chain(others).collect()
}

#[test]
fn each_script_prints_its_usage_and_refuses_an_unknown_option_without_doing_anything() {
    let programs = tempfile::tempdir().unwrap();
    let path = std::env::var("PATH").unwrap();
    for name in PROGRAMS {
        let found = path.split(':').map(|folder| Path::new(folder).join(name));
        let found = found.into_iter().find(|file| file.exists()).unwrap();
        symlink(found, programs.path().join(name)).unwrap();
    }
    let scripts = scripts();
    assert!(scripts.len() >= 7, "{scripts:?}");
    for script in scripts {
        let answer = |arguments: &[&str]| {
            let mut command = Command::new(programs.path().join("bash"));
            run(command.arg(&script).args(arguments).env_clear().env("PATH", programs.path()))
        };
        let name = script.display();
        for option in ["--help", "-h"] {
            let help = answer(&[option]);
            assert_eq!((help.code, help.err.as_str()), (0, ""), "{name}: {help:?}");
            let is_usage = help.out.lines().count() >= 2 && !help.out.contains("==");
            assert!(is_usage, "{name}: {help:?}");
        }
        for arguments in [&["--nonsense"][..], &["--hours", "--nonsense"], &["--nonsense", "9"]] {
            let refused = answer(arguments);
            assert_eq!((refused.code, refused.out.as_str()), (2, ""), "{name}: {refused:?}");
            let is_named = refused.err.contains(arguments[0]) || refused.err.contains("--nonsense");
            assert!(is_named, "{name}: {refused:?}");
        }
    }
}
