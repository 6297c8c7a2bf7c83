//! Job envelopes, seen from outside.

use serde_json::json;

use crate::harness::TestServer;

#[tokio::test]
async fn an_unknown_job_is_not_found() {
    let server = TestServer::start().await;
    assert_eq!(server.get("/async-response/job-unknown").await.refusal().0, 404);
}

#[tokio::test]
async fn a_slow_answer_is_held_until_its_job_ends_and_has_both_forms() {
    let server = TestServer::start().await;
    let (session, owner) =
        (server.create_session(&json!({})).await, server.app.store.find_first_user().await.unwrap().unwrap());
    let id = vitascope_model::id::JobId::mint(server.app.now(), [7; 10]);
    let job = vitascope_store::job::NewJob {
        id: id.clone(),
        owner,
        collection_id: None,
        kind: "export_session",
        payload: session,
        dedupe_key: None,
        callback_url: None,
    };
    let now = server.app.now();
    let enqueued =
        server.app.store.write(move |tx| Box::pin(async move { vitascope_store::job::enqueue(tx, &job, now).await }));
    enqueued.await.unwrap();
    server.app.job_bells.ring();
    let answer = server.get(&format!("/async-response/{id}")).await;
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!("done")), "{}", answer.body);
    // The session recorded nothing, which the reply says; Python reads `response`, Node the top.
    assert_eq!(answer.body["data"]["export_status"], "failed");
    assert_eq!(answer.body["response"]["data"], answer.body["data"]);
}
