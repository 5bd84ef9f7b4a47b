// Elements of a page, for the scripts of components: precedes them.
const address = (source) => (typeof source === "string" ? source : source?.url);

function node(parent, name, attributes = {}, text = "") {
  const child = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) child.setAttribute(key, value);
  child.textContent = text;
  parent.appendChild(child);
  return child;
}
