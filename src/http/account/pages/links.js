"use strict";

// Sends the token of the link when the reader presses the button.
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
const button = document.getElementById("send");
const result = document.getElementById("result");

async function send() {
  const response = await fetch(button.dataset.path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token }),
  });
  const body = await response.json();
  return response.ok ? button.dataset.done : body.detail;
}

button.addEventListener("click", async () => {
  button.disabled = true;
  try {
    result.textContent = await send();
    button.hidden = true;
  } catch {
    result.textContent = "The server cannot be reached. Please try again.";
    button.disabled = false;
  }
});
