//! Closes the rest of this machine to containers.
//!
//! An internal network leads nowhere, but its gateway is an address of this machine, where every
//! program that listens on all addresses could be reached. Rules in `iptables` allow only the
//! relay there. That takes root; without it what listens on all addresses stays within reach,
//! which is told once.

use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::naming::FleetId;

/// How long one command may take; it waits for others that change the rules.
const COMMAND: Duration = Duration::from_secs(10);

/// What is known of `iptables` on this machine.
#[derive(Clone, Debug)]
pub struct Firewall {
    fleet: FleetId,
}

impl Firewall {
    /// The firewall, when this process may change it; `Err` says why not.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub async fn open(fleet: FleetId) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("this process is not root".to_owned());
        }
        let firewall = Self { fleet };
        firewall.run(&words("-S INPUT")).await.map(|_| firewall)
    }

    /// Lets containers behind `bridge` reach these ports of the gateway and nothing else of this machine.
    ///
    /// # Errors
    ///
    /// What the program says.
    pub async fn close(
        &self,
        bridge: &str,
        doors: &(IpAddr, Vec<u16>),
        is_open: bool,
    ) -> Result<(), String> {
        for rule in rules(&self.fleet, bridge, doors, is_open) {
            let (chain, rest) = rule.split_first().map_or(("", &[] as &[String]), |(c, r)| (c, r));
            let with = |verb: &str| [&[verb.to_owned(), chain.to_owned()], rest].concat();
            if self.run(&with("-C")).await.is_err() {
                self.run(&with("-I")).await?;
            }
        }
        Ok(())
    }

    /// Removes all rules of the fleet but those of these bridges.
    pub async fn keep(&self, bridges: &[String]) {
        for chain in ["INPUT", "DOCKER-USER"] {
            let Ok(listed) = self.run(&["-S".to_owned(), chain.to_owned()]).await else { continue };
            for rule in stale(&self.fleet, &listed, bridges) {
                if let Err(error) = self.run(&rule).await {
                    tracing::debug!(error, "a rule of the firewall stays");
                }
            }
        }
    }

    async fn run(&self, arguments: &[String]) -> Result<String, String> {
        let mut command = Command::new("iptables");
        command.arg("-w").arg("5").args(arguments);
        command.stdin(Stdio::null()).kill_on_drop(true);
        match timeout(COMMAND, command.output()).await {
            Ok(Ok(done)) if done.status.success() => {
                Ok(String::from_utf8_lossy(&done.stdout).into_owned())
            }
            Ok(Ok(done)) => Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
            Ok(Err(error)) => Err(format!("could not run iptables: {error}")),
            Err(_) => Err("iptables does not end".to_owned()),
        }
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn comment(fleet: &FleetId) -> String {
    format!("metafleet:{fleet}")
}

/// The rules of one bridge, each with its chain in front; the last one is looked at first.
fn rules(
    fleet: &FleetId,
    bridge: &str,
    (gateway, ports): &(IpAddr, Vec<u16>),
    is_open: bool,
) -> Vec<Vec<String>> {
    let comment = comment(fleet);
    let rule = |text: String| words(&format!("{text} -m comment --comment {comment}"));
    // A network that leads outside still does not lead to the services of a cloud's own machines.
    let cloud = rule(format!("DOCKER-USER -d 169.254.0.0/16 -i {bridge} -j DROP"));
    let door = |port: &u16| {
        rule(format!("INPUT -d {gateway}/32 -i {bridge} -p tcp --dport {port} -j ACCEPT"))
    };
    let closed = rule(format!("INPUT -i {bridge} -j DROP"));
    // Answers to connections that this machine began.
    let answers =
        rule(format!("INPUT -i {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"));
    let cloud = is_open.then_some(cloud).into_iter();
    cloud.chain([closed]).chain(ports.iter().map(door)).chain([answers]).collect()
}

/// Commands that delete the fleet's rules of other bridges from what `iptables -S` has listed.
fn stale(fleet: &FleetId, listed: &str, bridges: &[String]) -> Vec<Vec<String>> {
    let comment = comment(fleet);
    let is_ours = |rule: &Vec<String>| {
        let word = |name: &str| {
            let at = rule.iter().position(|word| word == name)?;
            Some(rule.get(at + 1)?.trim_matches('"').to_owned())
        };
        word("--comment").as_ref() == Some(&comment)
            && word("-i").is_none_or(|bridge| !bridges.contains(&bridge))
    };
    listed
        .lines()
        .filter_map(|line| line.strip_prefix("-A "))
        .map(words)
        .filter(is_ours)
        .map(|rule| {
            let rule = rule.into_iter().map(|word| word.trim_matches('"').to_owned());
            std::iter::once("-D".to_owned()).chain(rule).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet() -> FleetId {
        FleetId::new(&"p".parse().unwrap(), "1")
    }

    #[test]
    fn only_the_doors_are_let_through() {
        let rules = rules(&fleet(), "mf-1", &([172, 20, 0, 1].into(), vec![8180, 9000]), true);
        let texts: Vec<String> = rules.iter().map(|rule| rule.join(" ")).collect();
        let end = "-m comment --comment metafleet:p-1";
        assert_eq!(texts[1], format!("INPUT -i mf-1 -j DROP {end}"));
        for (text, port) in texts[2..4].iter().zip([8180, 9000]) {
            let door = format!("INPUT -d 172.20.0.1/32 -i mf-1 -p tcp --dport {port} -j ACCEPT");
            assert_eq!(*text, format!("{door} {end}"));
        }
    }

    #[test]
    fn only_rules_of_this_fleet_go() {
        let listed = "-P INPUT ACCEPT\n\
            -A INPUT -i mf-1 -m comment --comment \"metafleet:p-1\" -j DROP\n\
            -A INPUT -i mf-2 -m comment --comment \"metafleet:p-1\" -j DROP\n\
            -A INPUT -i mf-3 -m comment --comment \"metafleet:p-12\" -j DROP\n\
            -A INPUT -i eth0 -j DROP\n";
        let stale = stale(&fleet(), listed, &["mf-1".to_owned()]);
        assert_eq!(stale, [words("-D INPUT -i mf-2 -m comment --comment metafleet:p-1 -j DROP")]);
    }
}
