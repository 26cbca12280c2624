#[test]
fn see() {
    let t = std::fs::read_to_string("/tmp/w.txt").unwrap();
    println!("{}", super::markdown(&t));
}
