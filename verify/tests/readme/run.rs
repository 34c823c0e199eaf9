// The end of the README's code: an app's first days.
{
    use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

    let folder = std::env::temp_dir().join(format!("licentia-readme-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    // What the server sends, by the last part of the path; otherwise it is out of reach.
    let server: Rc<RefCell<BTreeMap<&str, (u16, String)>>> = Rc::default();
    let responses = Rc::clone(&server);
    let tokens: Rc<RefCell<Vec<String>>> = Rc::default();
    let sent = Rc::clone(&tokens);
    // What another process stores or sees while a request is under way.
    let meanwhile: Rc<RefCell<Option<Box<dyn Fn(&str)>>>> = Rc::default();
    let during = Rc::clone(&meanwhile);
    let app = Licensing::new(folder.clone(), Box::new(move |url, token| {
        sent.borrow_mut().extend(token.map(str::to_owned));
        let name = url.rsplit('/').next().unwrap_or_default();
        if let Some(during) = during.borrow().as_ref() {
            during(name);
        }
        let response = responses.borrow().get(name).cloned();
        response.ok_or_else(|| io::Error::other("offline"))
    }));
    let app = app.unwrap();
    assert_eq!(app.verify().unwrap().code, Some(Code::Malformed));
    assert!(message(&app.verify().unwrap()).unwrap().contains("no valid license"));

    // A license that is pasted, without its bundle: the bundle is fetched.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readme/license.json");
    let text = fs::read_to_string(path).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let token = file["license"].as_str().unwrap();
    let keys = file["keys"].as_str().unwrap();
    assert_eq!(app.install(token).unwrap().code, Some(Code::UnknownKey));
    server.borrow_mut().insert("license-keys", (200, "<html>Log in to this network".into()));
    assert_eq!(app.install(token).unwrap().code, Some(Code::UnknownKey));
    server.borrow_mut().insert("license-keys", (200, keys.into()));
    assert!(app.install(token).unwrap().allows("export"));
    server.borrow_mut().clear();
    assert!(app.verify().unwrap().valid);

    // A file from the mail.
    assert!(app.install(&text).unwrap().allows("export"));
    assert!(!app.install("something else").unwrap().valid);
    let verdict = app.verify().unwrap();
    assert_eq!((verdict.limit("seats"), message(&verdict)), (Some(5), None));

    // Every response to a refresh.
    assert!(matches!(app.refresh().unwrap(), Refresh::Offline));
    let refresh = |status: u16, body: &str| {
        server.borrow_mut().insert("refresh", (status, body.to_owned()));
        app.refresh().unwrap()
    };
    let problem = |status: u16, code: &str| refresh(status, &format!("{{\"code\":\"{code}\"}}"));
    for status in [200, 302, 403, 404] {
        for page in ["<html>Log in to this network", "", "null", "[]", r#"{"token":7,"code":7}"#] {
            assert!(matches!(refresh(status, page), Refresh::Offline), "{status} {page}");
        }
    }
    assert!(matches!(refresh(502, "<html>"), Refresh::Busy));
    assert!(matches!(refresh(408, "<html>"), Refresh::Busy));
    let failed = |refresh: Refresh| match refresh {
        Refresh::Failed(verdict) => verdict.code,
        _ => panic!("it was stored"),
    };
    assert_eq!(failed(refresh(200, r#"{"token":"x"}"#)), Some(Code::Malformed));
    assert!(app.verify().unwrap().valid);
    assert!(matches!(problem(403, "license_expired"), Refresh::Ended));
    assert!(matches!(problem(401, "unknown_license"), Refresh::Unknown));
    assert!(matches!(problem(503, "busy"), Refresh::Busy));
    assert!(matches!(problem(403, "revoked"), Refresh::Revoked));
    assert!(app.verify().unwrap().valid);
    let body = serde_json::json!({ "token": token, "keys": keys }).to_string();
    server.borrow_mut().insert("refresh", (200, body));
    assert!(matches!(app.refresh().unwrap(), Refresh::Renewed(verdict) if verdict.valid));
    assert!(app.verify().unwrap().valid);
    assert!(tokens.borrow().iter().all(|sent| sent == token));

    // A newer bundle comes. Another process verifies meanwhile, and none is lost by a crash.
    let no_network = |_: &str, _: Option<&str>| Err(io::Error::other("offline"));
    let offline = || Licensing::new(folder.clone(), Box::new(no_network));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readme/newer-keys.jwt");
    let newer = fs::read_to_string(path).unwrap();
    let files = || -> BTreeMap<PathBuf, String> {
        let paths = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        paths.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
    };
    let before = files();
    let elsewhere = folder.clone();
    *meanwhile.borrow_mut() = Some(Box::new(move |_| {
        let other = Licensing::new(elsewhere.clone(), Box::new(no_network)).unwrap();
        assert!(other.verify().unwrap().valid);
    }));
    let renewal = serde_json::json!({ "token": token, "keys": newer }).to_string();
    assert!(matches!(refresh(200, &renewal), Refresh::Renewed(_)));
    let after = files();
    *meanwhile.borrow_mut() = None;
    assert!(before.keys().eq(after.keys()));
    for stored in 0..1 << after.len() {
        for (at, (path, text)) in after.iter().enumerate() {
            fs::write(path, if stored >> at & 1 == 1 { text } else { &before[path] }).unwrap();
        }
        assert!(offline().unwrap().verify().unwrap().valid, "the files {stored:b} are stored");
    }
    fs::remove_file(folder.join("memory")).unwrap();
    assert!(offline().unwrap().verify().unwrap().valid, "losing the memory is no error");

    // Another license is installed while a refresh is under way.
    let (path, other) = (folder.join("license"), text.clone());
    *meanwhile.borrow_mut() = Some(Box::new(move |name| {
        if name == "refresh" {
            fs::write(&path, &other).unwrap();
        }
    }));
    assert!(matches!(refresh(200, &renewal), Refresh::Renewed(_)));
    assert_eq!(fs::read_to_string(folder.join("license")).unwrap(), text);
    *meanwhile.borrow_mut() = None;

    // On a new machine, the newer bundle comes first.
    for name in ["license", "memory"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    let app_offline = offline().unwrap();
    assert!(app_offline.check("", Some(&newer), None).unwrap().license.is_err());
    assert!(app_offline.install(&text).unwrap().valid);
    assert!(offline().unwrap().verify().unwrap().valid);

    // The signed list revokes the license, also one that is pasted on another device.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readme/revoking-list.jwt");
    server.borrow_mut().insert("1", (200, fs::read_to_string(path).unwrap()));
    assert!(matches!(problem(403, "revoked"), Refresh::Revoked));
    assert_eq!(app.verify().unwrap().code, Some(Code::Revoked));
    for name in ["license", "memory"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    server.borrow_mut().insert("license-keys", (200, keys.into()));
    assert_eq!(app.install(token).unwrap().code, Some(Code::Revoked));
    server.borrow_mut().clear();
    assert_eq!(app.install(token).unwrap().code, Some(Code::Revoked));
    assert_eq!(app.verify().unwrap().code, Some(Code::Malformed));

    // The background, by the clock of a test. A server out of reach is asked less often each time.
    use std::cell::Cell;
    let field = folder.join("field");
    fs::create_dir_all(&field).unwrap();
    let responses = Rc::clone(&server);
    let mut app = Licensing::new(field, Box::new(move |url, _| {
        let response = responses.borrow().get(url.rsplit('/').next().unwrap()).cloned();
        response.ok_or_else(|| io::Error::other("offline"))
    })).unwrap();
    let now = Rc::new(Cell::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)));
    let clock = Rc::clone(&now);
    app.clock = Box::new(move || clock.get());
    assert!(app.install(&text).unwrap().valid);
    let run = |rounds: usize| {
        let (codes, minutes) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        app.run(|verdict| codes.borrow_mut().push(verdict.code), |wait| {
            now.set(now.get() + wait);
            minutes.borrow_mut().push(wait.as_secs() / 60);
            minutes.borrow().len() < rounds
        }).unwrap();
        (codes.into_inner(), minutes.into_inner())
    };
    assert_eq!(run(4), (vec![None], vec![1, 2, 4, 8]));
    now.set(now.get() + Duration::from_secs(40 * 86_400));
    let renewal = serde_json::json!({ "token": token, "keys": newer }).to_string();
    server.borrow_mut().insert("refresh", (200, renewal));
    assert_eq!(run(2), (vec![None], vec![60, 60]));
    // A clock that was set back: the license is renewed, and its verdict is still invalid.
    now.set(now.get() - Duration::from_secs(2 * 86_400));
    let wrong = Some(Code::ClockRolledBack);
    assert_eq!(run(2), (vec![wrong], vec![1, 2]));
    let result = app.refresh().unwrap();
    assert!(matches!(result, Refresh::Renewed(verdict) if verdict.code == wrong));
    now.set(now.get() + Duration::from_secs(2 * 86_400));
    assert!(app.verify().unwrap().valid);

    // A sentence for each code that asks for something else than another license.
    for (code, part) in [
        (Code::KeyNotValid, "go online"), (Code::WrongAudience, "another product"),
        (Code::WrongIssuer, "another product"),
    ] {
        let verdict = Verdict { state: None, code: Some(code), ..app.verify().unwrap() };
        assert!(message(&verdict).unwrap().contains(part), "{code:?}");
    }
    fs::remove_dir_all(folder).unwrap();
}
