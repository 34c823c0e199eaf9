//! `licentia license verify` and `explain`, with cases of the test vectors and with wrong files.
//! `src/cli/license/check/tests.rs` runs all cases, without a process.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use licentia::clock::Clock;
use licentia::domain::license::explanation::claims_in;
use licentia::domain::operator::admin_key::Scope;
use licentia::domain::operator::audit::Actor;
use licentia::flows::operator::licenses;
use licentia_verify::{Claims, Code};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::harness::TestApp;
use crate::harness::database::execute;
use crate::harness::process::{Done, licentia, run};

type Case = Map<String, Value>;

/// Returns the cases of a vector file, without those of several steps.
fn cases(path: &Path) -> Vec<Case> {
    let cases: Vec<Case> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    cases.into_iter().filter(|case| !case.contains_key("steps")).collect()
}

/// Returns the case of an example with this name.
fn example(name: &str) -> Case {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("verify/vectors/examples.json");
    cases(&path).into_iter().find(|case| case["name"].as_str().unwrap().contains(name)).unwrap()
}

/// Returns one case for each state and each code.
fn one_of_each() -> BTreeMap<String, Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("verify/vectors");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut found = BTreeMap::new();
    for case in files.iter().flat_map(|path| cases(path)) {
        let expect = &case["expect"];
        let is_usual = case["license"].is_string() && !case["license"].to_string().contains("\\u");
        if is_usual {
            found.entry(format!("{} {}", expect["state"], expect["code"])).or_insert(case);
        }
    }
    found
}

/// Returns the arguments of a case. Its texts are written into files.
fn arguments(case: &Case, folder: &Path) -> Vec<String> {
    let mut arguments = Vec::new();
    let file = |name: &str, text: &str| {
        fs::write(folder.join(name), text).unwrap();
        name.to_owned()
    };
    let license = file("license.json", case["license"].as_str().unwrap());
    for (option, trust) in case["trust"].as_object().unwrap() {
        arguments.push(format!("--{option}={}", file(option, &trust.to_string())));
    }
    for option in ["keys", "status", "memory"] {
        if let Some(text) = case.get(option).and_then(Value::as_str) {
            arguments.push(format!("--{option}={}", file(option, text)));
        }
    }
    for option in ["audience", "issuer", "device", "now", "build", "max_status_age"] {
        let value = match case.get(option) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) => text.clone(),
            Some(number) => number.to_string(),
        };
        arguments.push(format!("--{}={value}", option.replace('_', "-")));
    }
    arguments.push(license);
    arguments
}

/// Runs `licentia license` without a configuration and without a database.
fn license(folder: &TempDir, command: &str, arguments: &[String]) -> Done {
    let before = names(folder);
    let done = run(licentia(folder.path()).args(["license", command]).args(arguments));
    let expected: Vec<_> = before.into_iter().chain(["memory".to_owned()]).collect();
    assert!(names(folder).iter().all(|name| expected.contains(name)), "{:?}", names(folder));
    done
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn the_command_line_gives_the_verdict_of_the_vectors_license_7() {
    let cases = one_of_each();
    for code in Code::ALL {
        assert!(cases.contains_key(&format!("null \"{code}\"")), "no case for {code}");
    }
    for (kind, case) in &cases {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments(case, folder.path());
        let (expect, memory) = (&case["expect"], folder.path().join("memory"));
        let code = i32::from(expect["valid"] == false);
        let verified = license(&folder, "verify", &arguments);
        assert_eq!(verified.code, code, "{kind}: {verified:?}");
        let printed: Value = serde_json::from_str(&verified.out).unwrap();
        for (member, expected) in expect.as_object().unwrap().iter().filter(|(m, _)| *m != "memory")
        {
            assert_eq!(&printed[member], expected, "{kind} {}: {member}", case["name"]);
        }
        assert_eq!(printed["reason"], expect["code"], "{kind}");
        if memory.exists() && expect["memory"].is_object() {
            let written: Value = serde_json::from_slice(&fs::read(&memory).unwrap()).unwrap();
            assert_eq!(written, expect["memory"], "{kind}");
        }
        let explained = license(&folder, "explain", &arguments);
        assert_eq!(explained.code, code, "{kind}: {explained:?}");
        let first = explained.out.split_once("The verdict\n").unwrap().1.lines().next().unwrap();
        let named = if code == 0 { &expect["state"] } else { &expect["code"] };
        assert!(first.contains(&format!("`{}`", named.as_str().unwrap())), "{kind}: {first}");
    }
}

#[test]
fn explain_says_what_the_license_is_the_verdict_and_the_next_change() {
    let folder = tempfile::tempdir().unwrap();
    let case = example("a license and a JWKS");
    let mut arguments = arguments(&case, folder.path());
    let explained = license(&folder, "explain", &arguments);
    assert_eq!((explained.code, explained.err.as_str()), (0, ""));
    assert_eq!(
        explained.out,
        "The license\n  \
           It is the license `lic_1` of the customer `cust_1`, for the product `acme-app`.\n  \
           `https://acme.example` issued it at 2027-01-14T07:59:00Z.\n  \
           Its plan is `professional`. It is a full license, not a trial.\n  \
           It grants the features `export`, `sso`, and the limits `projects` 100, `seats` 5.\n  \
           It ends at 2027-07-14T08:00:00Z.\n  \
           This license token works until 2027-02-13T08:00:00Z. An app that is online gets a new \
           one before then.\n  \
           When it has ended, or its token has run out, nothing of it works any more.\n  \
           It covers every build of the app.\n  \
           It works on any device.\n  \
           It names no status list, so an app without a network never learns that it is \
           revoked.\n\n\
         The verdict\n  \
           The license is valid (state `active`): everything that it grants works.\n\n\
         The next change\n  \
           If nothing new is fetched, the verdict changes at 2027-02-13T08:00:00Z, in 29 days. The \
           license is then not valid (code `token_expired`): its token has run out, unless it is \
           refreshed.\n"
    );
    arguments.insert(0, "--json".to_owned());
    let explained: Value =
        serde_json::from_str(&license(&folder, "explain", &arguments).out).unwrap();
    assert_eq!((&explained["valid"], &explained["claims"]["jti"]), (&true.into(), &"lic_1".into()));
    assert_eq!(
        explained["explanation"]["verdict"],
        json!(["The license is valid (state `active`): everything that it grants works."])
    );
}

#[test]
fn explain_without_keys_says_that_nothing_was_checked() {
    let folder = tempfile::tempdir().unwrap();
    let token = example("a license and a JWKS")["license"].as_str().unwrap().to_owned();
    let explained = license(&folder, "explain", std::slice::from_ref(&token));
    assert_eq!(explained.code, 0, "{explained:?}");
    assert!(explained.out.contains("It ends at 2027-07-14T08:00:00Z."), "{}", explained.out);
    assert!(explained.out.contains("Nothing was checked, not even the signature"));
    let explained = license(&folder, "explain", &["--json".to_owned(), token]);
    let explained: Value = serde_json::from_str(&explained.out).unwrap();
    assert_eq!(explained["verified"], false);
    assert!(explained.get("valid").is_none(), "{explained}");
    let nonsense = license(&folder, "explain", &["nonsense".to_owned()]);
    assert_eq!(nonsense.code, 1);
    assert!(nonsense.out.contains("cannot be read as a license"), "{}", nonsense.out);
}

#[test]
fn explain_without_an_audience_says_that_the_product_was_not_checked() {
    let folder = tempfile::tempdir().unwrap();
    let case = example("a license and a JWKS");
    let mut arguments = arguments(&case, folder.path());
    arguments.retain(|argument| !argument.starts_with("--audience"));
    let explained = license(&folder, "explain", &arguments);
    assert_eq!(explained.code, 0, "{explained:?}");
    assert!(explained.out.contains("the product was not checked"), "{}", explained.out);
    let verified = license(&folder, "verify", &arguments);
    assert_eq!(verified.code, 2);
    assert!(verified.err.contains("--audience"), "{}", verified.err);
}

#[test]
fn memory_is_created_and_shows_a_clock_that_was_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = arguments(&example("a license and a JWKS"), folder.path());
    arguments.retain(|argument| !argument.starts_with("--now"));
    arguments.push("--memory=memory".to_owned());
    let at = |now: &str| {
        let now = vec![format!("--now={now}")];
        license(&folder, "verify", &[arguments.clone(), now].concat())
    };
    assert_eq!(at("2027-02-01T08:00:00Z").code, 0);
    let back = at("2027-01-20T08:00:00Z");
    assert_eq!(back.code, 1);
    let verdict: Value = serde_json::from_str(&back.out).unwrap();
    assert_eq!(verdict["code"], "clock_rolled_back");
    let memory = fs::read_to_string(folder.path().join("memory")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&memory).unwrap()["time"], 1_801_468_800);
}

/// Returns the license token, the bundle and the list of the example with a root, which are written
/// into files, and the arguments for a verification without them.
fn carried(folder: &Path) -> (Vec<String>, [String; 3]) {
    let case = example("a new key and a revoked license");
    let carried: Value = serde_json::from_str(case["license"].as_str().unwrap()).unwrap();
    let texts =
        ["license", "keys", "status"].map(|name| carried[name].as_str().unwrap().to_owned());
    for (name, text) in ["token", "bundle", "list"].iter().zip(&texts) {
        fs::write(folder.join(name), text).unwrap();
    }
    fs::write(folder.join("text"), "hello").unwrap();
    fs::write(folder.join("long"), "x".repeat(300 * 1024)).unwrap();
    let mut arguments = arguments(&case, folder);
    arguments.pop();
    (arguments, texts)
}

#[test]
fn a_list_or_a_bundle_that_does_not_count_is_named_in_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let (trusted, _) = carried(folder.path());
    let (no_list, no_bundle) = ("status list does not count", "key bundle does not count");
    for (documents, code, warning) in [
        ("--keys=bundle --status=list", Some("revoked"), None),
        ("--keys=bundle", None, None),
        ("--keys=bundle --status=text", None, Some(no_list)),
        ("--keys=bundle --status=long", None, Some(no_list)),
        ("--keys=bundle --status=bundle", None, Some(no_list)),
        ("--keys=bundle --status=token", None, Some(no_list)),
        ("--keys=text --status=list", Some("unknown_key"), Some(no_bundle)),
        ("--keys=long", Some("unknown_key"), Some(no_bundle)),
        ("--keys=list", Some("unknown_key"), Some(no_bundle)),
    ] {
        let documents = documents.split(' ').map(str::to_owned);
        let more: Vec<_> = documents.chain(["token".to_owned()]).collect();
        let done = license(&folder, "verify", &[trusted.clone(), more].concat());
        let verdict: Value = serde_json::from_str(&done.out).unwrap();
        assert_eq!(verdict["code"].as_str(), code, "{done:?}");
        match warning {
            None => assert_eq!(done.err, "", "{done:?}"),
            Some(part) => {
                let is_named = done.err.starts_with("warning: ") && done.err.contains(part);
                assert!(is_named, "{done:?}");
            }
        }
    }
    // Nothing refers to a list, and nothing needs a bundle.
    let plain = arguments(&example("a license and a JWKS"), folder.path());
    for (document, part) in [
        ("--status=text", "status list was not needed"),
        ("--keys=text", "key bundle was not needed"),
    ] {
        let done = license(&folder, "verify", &[vec![document.to_owned()], plain.clone()].concat());
        assert!(done.code == 0 && done.err.contains(part), "{done:?}");
    }
}

/// The clients in `sdks/` keep the bundle and the list in the file of the memory.
#[test]
fn the_members_of_an_app_in_its_memory_are_kept_and_none_is_older_than_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (trusted, [_, bundle, list]) = carried(folder.path());
    let path = folder.path().join("memory");
    let verify = |more: &str| {
        let more = more.split(' ').chain(["--memory=memory"]).map(str::to_owned).collect();
        license(&folder, "verify", &[trusted.clone(), more].concat());
        serde_json::from_str::<Value>(&fs::read_to_string(&path).unwrap()).unwrap()
    };
    let plain = verify("token");
    let with_others = |others: &Value| {
        let mut members = plain.as_object().unwrap().clone();
        members.extend(others.as_object().unwrap().clone());
        fs::write(&path, Value::Object(members).to_string()).unwrap();
    };
    let others = json!({ "keys": "an older one", "status": "an older one", "app": { "x": [1] } });
    for (more, keys, status) in [
        ("token", "an older one", "an older one"),
        ("--keys=text --status=text token", "an older one", "an older one"),
        ("--keys=bundle token", bundle.as_str(), "an older one"),
        ("--keys=bundle --status=list token", bundle.as_str(), list.as_str()),
        ("license.json", bundle.as_str(), list.as_str()),
    ] {
        with_others(&others);
        let kept = verify(more);
        assert_eq!((&kept["keys"], &kept["status"]), (&keys.into(), &status.into()), "{more}");
        assert_eq!(kept["app"], others["app"], "{more}");
        assert_eq!(kept["v"], 1, "{more}");
    }
    // The memory counts although the file is longer than a memory may be.
    with_others(&json!({ "keys": "x".repeat(300 * 1024) }));
    verify("license.json");
    let revoked = license(
        &folder,
        "verify",
        &[trusted.clone(), ["--keys=bundle", "--memory=memory", "token"].map(str::to_owned).into()]
            .concat(),
    );
    let verdict: Value = serde_json::from_str(&revoked.out).unwrap();
    assert_eq!(verdict["code"], "revoked", "{revoked:?}");
}

/// Each wrong call names the file or the argument, and what to do.
#[test]
fn a_wrong_file_is_named_with_what_to_do_about_it() {
    let folder = tempfile::tempdir().unwrap();
    let case = example("a new key and a revoked license");
    let license_json = case["license"].as_str().unwrap();
    let bundle = serde_json::from_str::<Value>(license_json).unwrap()["keys"].clone();
    let root = case["trust"]["root"].clone();
    let mut weak = root.clone();
    weak["x"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into();
    let mut private = root.clone();
    private["d"] = "AAAA".into();
    for (name, text) in [
        ("license.json", license_json.to_owned()),
        ("root", root.to_string()),
        ("jwks", json!({ "keys": [root] }).to_string()),
        ("weak", weak.to_string()),
        ("private", private.to_string()),
        ("no-keys", json!({ "keys": [] }).to_string()),
        ("bundle", bundle.as_str().unwrap().to_owned()),
        ("text", "hello".to_owned()),
        ("long", " ".repeat(4 * 1024 * 1024 + 1)),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    fs::create_dir(folder.path().join("folder")).unwrap();
    let trusted = "--root=root license.json";
    for (arguments, says) in [
        (
            "--root=nothing license.json",
            &["nothing: there is no such file", "keys root export"][..],
        ),
        ("--root=jwks license.json", &["jwks: ", "this is a JWKS; give it with --jwks"]),
        ("--root=bundle license.json", &["this is a key bundle; give it with --keys"]),
        ("--root=weak license.json", &["not a usable Ed25519 key"]),
        ("--root=private license.json", &["private key"]),
        ("--root=text license.json", &["text: this is not a usable key set"]),
        ("--root=folder license.json", &["folder: "]),
        ("--jwks=nothing license.json", &["there is no such file", "/.well-known/jwks.json"]),
        ("--jwks=root license.json", &["give it with --root"]),
        ("--jwks=bundle license.json", &["this is a key bundle; give it with --keys"]),
        ("--jwks=no-keys license.json", &["no usable Ed25519 key", "download it again"]),
        ("--jwks=jwks --root=root license.json", &["--root", "cannot be used with"]),
        ("license.json", &["--jwks"]),
        ("--root=root nothing.json", &["nothing.json: there is no such file; give a license"]),
        ("--root=root no/thing", &["no/thing: there is no such file"]),
        ("--root=root folder", &["folder: "]),
        ("--root=root long", &["long: it is longer than 4194304 bytes"]),
        (&format!("--keys=nothing {trusted}"), &["nothing: there is no such file", "license-keys"]),
        (&format!("--status=nothing {trusted}"), &["nothing: there is no such file"]),
        (&format!("--memory=folder {trusted}"), &["folder: "]),
        (&format!("--memory=bundle {trusted}"), &["bundle: this is no memory", "--memory"]),
        (&format!("--memory=no/memory {trusted}"), &["no/memory: the memory cannot be written"]),
        (&format!("--now=soon {trusted}"), &["use seconds since 1970"]),
        (&format!("--build=soon {trusted}"), &["use seconds since 1970"]),
        (&format!("--max-status-age=-1 {trusted}"), &["max-status-age"]),
    ] {
        for command in ["verify", "explain"] {
            if command == "explain" && arguments == "license.json" {
                continue; // It needs no keys.
            }
            let mut arguments: Vec<_> = arguments.split(' ').map(str::to_owned).collect();
            arguments.insert(0, "--audience=acme-app".to_owned());
            let done = license(&folder, command, &arguments);
            assert_eq!((done.code, done.out.as_str()), (2, ""), "{arguments:?}: {done:?}");
            for text in says {
                assert!(done.err.contains(text), "{arguments:?}: {text}: {}", done.err);
            }
        }
    }
}

#[tokio::test]
async fn why_says_about_the_current_license_what_explain_says_offline() {
    let app = TestApp::start().await;
    let admin = app.admin(Scope::Support).await;
    let ada = app.sign_up("ada@example.com").await;
    let id = ada.text("/customer/customer_id").to_owned();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("jwks", &app.client.get("/.well-known/jwks.json").await.text);
    let must_agree = async |says: &str| {
        let license = app.app.store.current_license(&id.parse().unwrap()).await.unwrap().unwrap();
        write("license", license.token.expose());
        write("list", &app.client.get("/.well-known/license-status/1").await.text);
        let now = format!("--now={}", app.clock.now().epoch_seconds());
        let arguments = ["license", "explain", "--json", "--audience=acme-app", "--jwks=jwks"];
        let explained =
            run(licentia(folder.path()).args(arguments).args(["--status=list", &now, "license"]));
        let explained: Value = serde_json::from_str(&explained.out).unwrap();
        let why = admin.get(&format!("/api/admin/customers/{id}/why")).await;
        assert_eq!(why.status, 200, "{}", why.text);
        assert_eq!(why.body["explanation"], explained["explanation"]);
        assert!(why.body["explanation"].to_string().contains(says), "{}", why.text);
        // Nothing is said twice in other words.
        assert!(!why.body["reasons"].to_string().contains("works"), "{}", why.text);
        why
    };
    must_agree("state `active`").await;
    app.clock.advance_days(15);
    must_agree("code `license_expired`").await;
    let license = app.grant(&id, "professional").await;
    must_agree("It never ends.").await;
    licenses::revoke(&app.app, Actor::Operator, &license.license_id).await.unwrap();
    let why = must_agree("code `revoked`").await;
    assert!(why.body["reasons"].to_string().contains("(reason `operator`)"), "{}", why.text);

    // A license without a status list says that it is revoked, too: the server knows it.
    let key = app.app.keys.signing(app.clock.now()).unwrap();
    let claims = claims_in(license.token.expose()).unwrap();
    let token = key.sign(&Claims { status: None, ..claims }).unwrap();
    let sql = format!(
        "UPDATE licenses SET token = '{}', status_list = NULL WHERE superseded_at IS NULL",
        token.expose()
    );
    execute(&app.app.store, &sql).await.unwrap();
    let why = admin.get(&format!("/api/admin/customers/{id}/why")).await;
    assert!(why.body["explanation"]["verdict"].to_string().contains("code `revoked`"));
    assert!(why.body["explanation"]["license"].to_string().contains("names no status list"));
}
