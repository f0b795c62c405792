//! `/companies/{slug}`.

use crate::support::TestApp;

#[tokio::test]
async fn a_company_has_its_page() {
    let app = TestApp::with_samples().await;
    let answer = app.get("/companies/anthropic").await;
    assert_eq!(answer.status, 200);
    insta::assert_json_snapshot!(answer.json());
}
