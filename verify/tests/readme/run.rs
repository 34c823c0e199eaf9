// The end of the README's code: an app's first days.
{
    let folder = std::env::temp_dir().join(format!("licentia-readme-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let app = Licensing::new(folder.clone()).unwrap();
    assert_eq!(app.verify().unwrap().code, Some(Code::Malformed));
    assert!(message(&app.verify().unwrap()).unwrap().contains("no valid license"));

    // A file from the mail.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readme/license.json");
    let file = fs::read_to_string(path).unwrap();
    assert!(app.install(&file).unwrap().allows("export"));
    assert!(!app.install("something else").unwrap().valid);
    let verdict = app.verify().unwrap();
    assert_eq!((verdict.limit("seats"), message(&verdict)), (Some(5), None));

    // Every response to a refresh.
    let file: Value = serde_json::from_str(&file).unwrap();
    let problem = |status: u16, code: &str| {
        let body = format!("{{\"code\":\"{code}\"}}");
        app.refresh(|token| {
            assert_eq!(file["license"], token);
            Ok((status, body.clone()))
        })
        .unwrap()
    };
    assert!(matches!(problem(403, "license_expired"), Refresh::Ended));
    assert!(matches!(problem(403, "revoked"), Refresh::Revoked));
    assert!(matches!(problem(401, "unknown_license"), Refresh::Unknown));
    assert!(matches!(problem(503, "busy"), Refresh::Busy));
    assert!(app.refresh(|_| Err(io::Error::other("offline"))).is_err());
    let body = serde_json::json!({ "token": file["license"], "keys": file["keys"] }).to_string();
    let renewed = app.refresh(|_| Ok((200, body.clone()))).unwrap();
    assert!(matches!(renewed, Refresh::Renewed(verdict) if verdict.valid));
    assert!(app.verify().unwrap().valid);
    fs::remove_dir_all(folder).unwrap();
}
