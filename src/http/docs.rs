//! Swagger UI, from the files that poem-openapi contains. The page has no inline scripts, so its
//! Content-Security-Policy can forbid them.

use poem::{IntoEndpoint, Route};

use super::service;
use super::static_file::file;

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Licentia API</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
  <div id="ui"><noscript>This page needs JavaScript. The API is described at
    <a href="/openapi.json">/openapi.json</a>.</noscript></div>
  <script src="/docs/swagger-ui.js"></script>
  <script src="/docs/start.js"></script>
</body>
</html>
"#;

const START: &str = r##"SwaggerUIBundle({
  dom_id: "#ui",
  url: "/openapi.json",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"##;

/// Swagger UI loads icons from data URLs. Scripts and styles come from this server only.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; \
     style-src 'self'; img-src 'self' data:; frame-ancestors 'none'; \
     base-uri 'none'; form-action 'none'";

/// Returns the page and its files, to be nested under `/docs`.
pub fn pages() -> impl IntoEndpoint {
    // The library offers its files only inside its own page, so they are extracted from it.
    let page = service().swagger_ui_html();
    let style = between(&page, "<style charset=\"UTF-8\">", "</style>").to_owned();
    let script = between(&page, "<script charset=\"UTF-8\">", "</script>").to_owned();
    Route::new()
        .at("/", file("text/html; charset=utf-8", PAGE, CONTENT_SECURITY_POLICY))
        .at("/start.js", file("text/javascript; charset=utf-8", START, CONTENT_SECURITY_POLICY))
        .at("/swagger-ui.css", file("text/css; charset=utf-8", style, CONTENT_SECURITY_POLICY))
        .at(
            "/swagger-ui.js",
            file("text/javascript; charset=utf-8", script, CONTENT_SECURITY_POLICY),
        )
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> &'a str {
    let rest = text.split_once(open).map_or("", |(_, rest)| rest);
    rest.split_once(close).map_or("", |(inner, _)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_contains_the_files() {
        let page = service().swagger_ui_html();
        assert!(between(&page, "<style charset=\"UTF-8\">", "</style>").contains(".swagger-ui"));
        let script = between(&page, "<script charset=\"UTF-8\">", "</script>");
        assert!(script.contains("SwaggerUIBundle") && script.len() > 500_000);
    }
}
