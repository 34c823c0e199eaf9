//! The binary, run as its user runs it. Tests within the process use `mod.rs`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{Client, TestDatabase};

/// The result of a command.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Returns a command for the binary, in a directory of its own and without this process's
/// environment.
pub fn licentia(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_licentia"));
    command.current_dir(directory).env_clear().stdin(Stdio::null());
    command
}

/// Returns a command that serves on a free port, in a directory.
pub fn serve(directory: &Path, database: &TestDatabase, settings: &[(&str, &str)]) -> Command {
    let mut command = licentia(directory);
    command
        .arg("serve")
        .env("LICENTIA_LISTEN", "127.0.0.1:0")
        .env("LICENTIA_DATABASE_URL", &database.url)
        .envs(settings.iter().copied());
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Done {
    let output = command.output().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A server in a process of its own.
pub struct Server {
    pub child: Child,
    pub client: Client,
    /// Its output until it was ready.
    pub greeting: String,
}

impl Server {
    /// Starts a server on a free port, and waits until it prints its address.
    pub fn start(directory: &Path, database: &TestDatabase, settings: &[(&str, &str)]) -> Self {
        let log = std::fs::File::create(directory.join("server.log")).unwrap();
        Self::run(serve(directory, database, settings).stderr(log), directory)
    }

    /// Runs a command that serves, and waits until it prints its address.
    pub fn run(command: &mut Command, directory: &Path) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut greeting = String::new();
        while let Some(Ok(line)) = lines.next() {
            greeting.push_str(&line);
            greeting.push('\n');
            if line.trim_start().starts_with("Keys") {
                break;
            }
        }
        let url = greeting.split_whitespace().find(|word| word.starts_with("http://"));
        let log = || std::fs::read_to_string(directory.join("server.log")).unwrap_or_default();
        let url = url.unwrap_or_else(|| panic!("it did not start: {greeting}{}", log()));
        Self { client: Client::new(url.to_owned()), child, greeting }
    }

    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Asks the server to stop (SIGTERM) and waits. Returns its exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.end()
    }

    /// Stops a server that is replaced later. Returns its exit code.
    pub fn end(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
