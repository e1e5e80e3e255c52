//! The shortest world that still goes wrong: one part after the other is left out, as long as it does.

use super::{Breach, World, play};

/// Leaves out all that is not needed for the world to go wrong.
#[must_use]
pub fn shortest(world: &World, breach: Option<Breach>) -> World {
    let mut shortest = world.clone();
    loop {
        let less = shortest.parts().into_iter().find_map(|part| {
            let mut without = shortest.without.clone();
            without.insert(part);
            let less = World::without(shortest.seed, without);
            play(&less, breach, false).wrong.is_some().then_some(less)
        });
        match less {
            Some(less) => shortest = less,
            None => return shortest,
        }
    }
}
