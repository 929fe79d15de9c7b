"use strict";

// Reads the description of the interface from this server, with a credential where it asks for
// one, and shows it. Nothing is asked of any other server.

const description = new URL("openapi.json", document.baseURI);
const form = document.getElementById("sign-in");

function headers(kind, credential) {
  if (!credential) {
    return {};
  }
  return kind === "apiKey" ? { "X-API-Key": credential } : { Authorization: `Bearer ${credential}` };
}

function show(spec, kind, credential) {
  form.hidden = true;
  // Wherever the routes are mounted, they lie beside the description.
  spec.servers = [{ url: new URL(".", description).href.replace(/\/$/, "") }];
  const ui = SwaggerUIBundle({
    spec,
    dom_id: "#docs",
    deepLinking: true,
    displayRequestDuration: true,
    validatorUrl: null,
    onComplete: () => credential && ui.preauthorizeApiKey(kind, credential),
  });
}

async function load(kind, credential) {
  const answer = await fetch(description, { headers: headers(kind, credential) });
  const body = await answer.json();
  if (answer.ok) {
    show(body, kind, credential);
    return;
  }
  form.hidden = false;
  document.getElementById("refusal").textContent = credential ? body.error : "";
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  load(document.getElementById("kind").value, document.getElementById("credential").value);
});

load();
