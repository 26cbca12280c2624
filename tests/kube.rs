//! The program with `--mode k8s`, seen from outside: against a double of the
//! API server, and against a real cluster.

mod double;
