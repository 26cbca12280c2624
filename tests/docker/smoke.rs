use super::*;
use serde_json::json;

#[test]
fn an_agent_that_exits_with_0_has_succeeded() {
    let Some(docker) = Docker::new("success") else {
        return;
    };
    docker.items(&json!([{"id": "A-1", "summary": "one"}]));
    docker
        .orchestrator()
        .agent(&format!("{BEGIN} echo hello; {END}"))
        .finish(0);
    let outcome = docker.outcome("A-1");
    assert_eq!(
        (
            &outcome["outcome"],
            &outcome["attempts"],
            &outcome["exit_code"]
        ),
        (&json!("succeeded"), &json!(1), &json!(0))
    );
    assert_eq!(outcome["tail"], "hello");
    docker.assert_nothing_left();
}
