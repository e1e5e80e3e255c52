# A plugin for `metafleet-shim --persistent` that does nothing: an answer for each line.
while read -r _; do
  echo '{"noop/done": "1"}'
done
