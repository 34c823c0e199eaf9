//! A throwaway PostgreSQL cluster on a Unix socket, started from the installed binaries. It always
//! ends with the test process: a shell keeps the cluster running only while its standard input, a
//! pipe from this process, is open.

use std::fmt::Write;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use licentia::store::{IfMissing, Store};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

const TEMPLATE: &str = "template_licentia";

/// Starts the server, waits for the pipe to close, stops the server and removes its files. The
/// server accepts the connections of all tests that run at once: one of them starts about thirty
/// servers with up to twenty connections each.
const KEEPER: &str = r#"
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses='' -c max_connections=1000 \
    -c fsync=off -c synchronous_commit=off >"$2/log" 2>&1 &
cat >/dev/null
"$1/pg_ctl" -D "$2/data" -m fast stop >/dev/null 2>&1
rm -rf "$2"
"#;

/// A cluster and its server.
pub struct Cluster {
    socket: PathBuf,
    /// Keeps the pipe open.
    _keeper: Child,
}

impl Cluster {
    /// Returns a new cluster whose server can be stopped, and the URL of an empty database in it.
    pub async fn with_database() -> (Self, String) {
        let cluster = start();
        create(&cluster.socket, "test", "template0").await;
        let url = url(&cluster.socket, "test");
        (cluster, url)
    }

    /// Stops the server as a restart does: every connection ends.
    pub fn stop_server(&self) {
        self.control("stop");
    }

    /// Starts the server again.
    pub fn start_server(&self) {
        // It takes the options from the file that the first start wrote.
        self.control("restart");
    }

    fn control(&self, what: &str) {
        let program = binaries().join("pg_ctl");
        let data = format!("--pgdata={}/data", self.socket.display());
        let log = format!("--log={}/log", self.socket.display());
        let mut command = as_owner(&[program.to_str().unwrap(), what, "--mode=fast", &data, &log]);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(quiet.status().unwrap().success(), "pg_ctl {what}");
    }
}

/// Returns the URL of a new database, with this version's schema or empty.
pub async fn database(migrated: bool) -> String {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    static TEMPLATE_READY: OnceCell<()> = OnceCell::const_new();
    static NEXT: AtomicU32 = AtomicU32::new(0);

    let socket = &CLUSTER.get_or_init(start).socket;
    TEMPLATE_READY.get_or_init(|| make_template(socket)).await;
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let template = if migrated { TEMPLATE } else { "template0" };
    create(socket, &name, template).await;
    url(socket, &name)
}

fn url(socket: &Path, database: &str) -> String {
    format!("postgres:///{database}?host={}&user=licentia", socket.display())
}

async fn create(socket: &Path, name: &str, template: &str) {
    let mut connection = connect(socket).await;
    let sql = format!("CREATE DATABASE {name} TEMPLATE {template}");
    sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
}

async fn make_template(socket: &Path) {
    create(socket, TEMPLATE, "template0").await;
    let store = Store::open(&url(socket, TEMPLATE).into(), IfMissing::Refuse).await.unwrap();
    store.migrate_up().await.unwrap();
    store.close().await;
}

/// Connects as soon as the server accepts connections.
async fn connect(socket: &Path) -> PgConnection {
    let connect = async {
        loop {
            match PgConnection::connect(&url(socket, "postgres")).await {
                Ok(connection) => return connection,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let connected = tokio::time::timeout(Duration::from_secs(60), connect).await;
    connected.unwrap_or_else(|_| {
        let log = std::fs::read_to_string(socket.join("log")).unwrap_or_default();
        panic!("PostgreSQL did not start: {log}")
    })
}

fn start() -> Cluster {
    let binaries = binaries();
    // Not removed here: the keeper removes it after the server has stopped.
    let directory = tempfile::Builder::new().prefix("licentia-pg-").tempdir().unwrap().keep();
    if is_root() {
        let owner =
            id("-u", "postgres").expect("there is no user postgres, and root may not run it");
        chown(&directory, Some(owner), id("-g", "postgres")).unwrap();
    }
    let (bin, dir) = (binaries.to_str().unwrap(), directory.to_str().unwrap());
    let initdb = as_owner(&[
        &format!("{bin}/initdb"),
        &format!("--pgdata={dir}/data"),
        "--username=licentia",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
    ])
    .output()
    .unwrap();
    assert!(initdb.status.success(), "{}", shown(&initdb));
    let keeper = as_owner(&["sh", "-c", KEEPER, "keeper", bin, dir])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Cluster { socket: directory, _keeper: keeper }
}

/// Returns a command that runs as the cluster's owner, because PostgreSQL refuses to run as root.
fn as_owner(words: &[&str]) -> Command {
    let mut command = if is_root() { Command::new("runuser") } else { Command::new(words[0]) };
    if is_root() {
        command.args(["-u", "postgres", "--"]).args(words);
    } else {
        command.args(&words[1..]);
    }
    command.current_dir("/");
    command
}

/// Returns the directory of the server's programs. On Debian they are not in the path.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions.map(|version| version.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let newest = debian.filter(|bin| bin.join("initdb").exists()).max();
    newest
        .or_else(|| std::env::split_paths(&path).find(|bin| bin.join("initdb").exists()))
        .expect("PostgreSQL is not installed; ./scripts/test installs it")
}

fn is_root() -> bool {
    id("-u", "").is_some_and(|id| id == 0)
}

fn id(what: &str, user: &str) -> Option<u32> {
    let user = Some(user).filter(|user| !user.is_empty());
    let output = Command::new("id").arg(what).args(user).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

fn shown(output: &std::process::Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    let _ = write!(text, "{}", String::from_utf8_lossy(&output.stderr));
    text
}
