"use strict";

// Sends the token of the link when the reader presses the button, and the password if the page asks
// for one.
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
const button = document.getElementById("send");
const password = document.getElementById("password");
const result = document.getElementById("result");

async function send() {
  const response = await fetch(button.dataset.path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(password ? { token, password: password.value } : { token }),
  });
  const body = await response.json();
  return { done: response.ok, text: response.ok ? button.dataset.done : body.detail };
}

button.addEventListener("click", async () => {
  button.disabled = true;
  try {
    const { done, text } = await send();
    result.textContent = text;
    button.hidden = done;
    if (done && password) {
      password.value = "";
    }
  } catch {
    result.textContent = "The server cannot be reached. Please try again.";
  }
  button.disabled = false;
});
