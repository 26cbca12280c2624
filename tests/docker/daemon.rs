//! A daemon that is away, or goes away under running agents.

use serde_json::json;

use super::Docker;

#[test]
fn a_daemon_that_is_away_costs_no_item_an_attempt() {
    let Some(docker) = Docker::new("away") else {
        return;
    };
    docker.items(&json!([{"id": "A-1"}]));
    let orchestrator = docker
        .orchestrator()
        .agent("true")
        .arg("--start-timeout=1s");
    let nowhere = format!("unix://{}", docker.path("no.sock").display());
    let output = orchestrator.clone().env("DOCKER_HOST", nowhere).finish(1);
    let said = output.stderr.matches("what runs is not known").count();
    assert_eq!(said, 1, "told once:\n{}", output.stderr);
    assert_eq!(docker.outcomes().len(), 0);
    orchestrator.finish(0);
    assert_eq!(docker.outcome("A-1")["attempts"], 1);
    docker.assert_nothing_left();
}
